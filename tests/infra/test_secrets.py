"""Secrets by reference: found where they stand, named but never shown."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import Invalid
from infra.secrets import read_secret, reference
from infra.spec import Secret


def test_a_secret_is_read_from_where_it_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STORE_KEY", "hunter2")
    (tmp_path / "key").write_text("hunter3\n")
    assert read_secret(Secret(env="STORE_KEY")) == "hunter2"
    assert read_secret(Secret(file=str(tmp_path / "key"))) == "hunter3"
    assert read_secret(Secret(value="hunter4")) == "hunter4"


def test_an_absent_secret_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORE_KEY", raising=False)
    with pytest.raises(Invalid, match=r"environment variable `STORE_KEY` is not set\. Cure: export STORE_KEY"):
        read_secret(Secret(env="STORE_KEY"))
    with pytest.raises(Invalid, match="absent` does not exist"):
        read_secret(Secret(file=str(tmp_path / "absent")))
    with pytest.raises(Invalid, match="cannot be read: Is a directory"):
        read_secret(Secret(file=str(tmp_path)))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(Invalid, match="is empty"):
        read_secret(Secret(file=str(tmp_path / "empty")))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(Invalid, match="not UTF-8"):
        read_secret(Secret(file=str(tmp_path / "binary")))


def test_a_value_shows_neither_in_references_nor_in_representations() -> None:
    secret = Secret(value="hunter2")
    assert "hunter2" not in reference(secret) + repr(secret) + str(secret)
