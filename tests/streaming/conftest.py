"""One planning process for all of this room's tests: starting its JVM takes longer than planning ten jobs."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.clock import SystemClock
from infra.local.jars import flink_kafka_connector
from streaming.planner import Planner


@pytest.fixture(scope="session")
def planner() -> Iterator[Planner]:
    """Plans and submits."""
    with Planner(flink_kafka_connector(), clock=SystemClock()) as found:
        yield found
