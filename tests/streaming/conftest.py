"""One planning process for all tests of this room, as its JVM starts slowly, and pipelines for the controller."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.clock import SystemClock
from infra.local.jars import flink_kafka_connector
from infra.local.stack import LocalStack
from infra.spec import Pipeline
from streaming import sql
from streaming.flink_rest import FlinkRest
from streaming.planner import Planner
from tests.streaming.controlled import Running, bucket
from tests.streaming.pipelines import pipeline


@pytest.fixture(scope="session")
def planner() -> Iterator[Planner]:
    """Plans and submits."""
    with Planner(flink_kafka_connector(), clock=SystemClock()) as found:
        yield found


@pytest.fixture
def spec(local_stack: LocalStack, unique: Callable[[str], str]) -> Iterator[Pipeline]:
    """A pipeline on the local stack, whose job is cancelled at the end whatever happened."""
    found = pipeline(
        unique("join"),
        kafka={"bootstrap": local_stack.kafka.bootstrap},
        join={"window": "2s", "correction_window": "10s", "out_of_orderness": "3s", "idle_timeout": "2s"},
        control={"port": 0, "heartbeat_interval": "200ms"},
        flink={"rest": local_stack.flink.rest, "checkpoint_interval": "1s"},
        store=bucket(local_stack),
    )
    yield found
    with FlinkRest(local_stack.flink.rest) as cluster:
        for job in cluster.jobs(sql.job_prefix(found.name)):
            if not job.ended:
                cluster.cancel(job.id)


@pytest.fixture
def run(spec: Pipeline) -> Iterator[type[Running]]:
    """Starts what leaves at the end, also where the test has failed: it would submit its cancelled job again."""
    started: list[Running] = []

    class Leaving(Running):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    yield Leaving
    for each in started:
        each.leave()
