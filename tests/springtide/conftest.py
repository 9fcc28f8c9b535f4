"""The broker with access lists, started once for the tests of this folder that ask for it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.secured_broker import SecuredBroker, secured_broker


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """A broker on which the user `guest` may do what he is granted, and nothing else."""
    with secured_broker(tmp_path_factory.mktemp("guarded")) as broker:
        yield broker
