"""A loop of its own for each test that wants one, and a browser for all of them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from infra.local.kafka_server import KafkaServer
from tests.dashboard.loop import Loop


@pytest.fixture
def loop(local_kafka: KafkaServer, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Loop]:
    made = Loop(tmp_path, unique("page"), local_kafka.bootstrap)
    yield made
    made.close()


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """Goes with the last test of this folder: while it is there, no other test can have an event loop of its own."""
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=chromium, args=[*arguments, "--disable-component-update", "--disable-sync"]
        )
        yield found
        found.close()
