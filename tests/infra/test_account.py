"""Who runs a process is known by a name, in a container too."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import pwd

import pytest

from infra.account import account

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("nameless")
def test_a_user_of_this_machine_has_his_name() -> None:
    assert account() == pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.usefixtures("nameless")
def test_one_without_a_name_has_his_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert account() == f"uid-{os.getuid()}"
