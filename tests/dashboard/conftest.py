"""A loop of its own for each test that wants one, and a browser for all of them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from infra.local.kafka_server import KafkaServer
from tests.dashboard.browsing import launched
from tests.dashboard.loop import Loop


@pytest.fixture
def loop(local_kafka: KafkaServer, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Loop]:
    made = Loop(tmp_path, unique("page"), local_kafka.bootstrap)
    yield made
    made.close()


@pytest.fixture
def loop_of_many(local_kafka: KafkaServer, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Loop]:
    """As the other, with two dozen replicas."""
    made = Loop(tmp_path, unique("many"), local_kafka.bootstrap, replicas=24)
    yield made
    made.close()


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """Goes with the last test of this folder: while it is there, no other test can have an event loop of its own."""
    with launched(chromium) as found:
        yield found
