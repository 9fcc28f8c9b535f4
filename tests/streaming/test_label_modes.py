"""The truth table in the other two label modes: labels at the close of the window, and labels at once."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from infra.clock import SystemClock
from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming import sql
from streaming.flink_rest import FlinkRest
from streaming.planner import Planner
from tests.streaming.events import Stream
from tests.streaming.pipelines import pipeline
from tests.streaming.truth import AGE_MS, FEEDBACK, IMPRESSIONS, JOIN, WINDOW, of, send, wanted

pytestmark = pytest.mark.long
MODES = ("aligned", "immediate")


@pytest.fixture(scope="module")
def streams(local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner) -> Iterator[dict[str, Stream]]:
    """A join of each mode, and everything that came of the table's events."""
    clock = SystemClock()
    found: dict[str, Stream] = {}
    jobs = []
    with FlinkRest(local_flink.rest) as cluster:
        try:
            for mode in MODES:
                spec = pipeline(
                    f"{mode}-{clock.now_ms() % 1_000_000_000}",
                    kafka={"bootstrap": local_kafka.bootstrap},
                    join={**JOIN, "labels": mode},
                    flink={"rest": local_flink.rest, "checkpoint_interval": "2s"},
                )
                found[mode] = Stream(spec, clock.now_ms() - AGE_MS)
                jobs.append(planner.submit(sql.plan(spec), cluster))
            for stream in found.values():
                send(stream)
            yield found
        finally:
            for job in jobs:
                cluster.cancel(job)
            for stream in found.values():
                stream.close()


def aligned(row: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """A positive is known when the window closes, as a negative is."""
    return [(*row[:3], float(WINDOW))] if row[0] == "#click.0" else [row]


def immediate(row: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Every impression is a sample at once, and every positive a second one."""
    shown = ("#click.0", "impression", 0, 0.0)
    if row[1] == "timeout":
        return [shown]
    if row[1] == "click":
        return [shown, ("#click.1", "click", 1, row[3])]
    if row[1] == "correction":
        return [("#click.1", "click", 1, row[3])]
    return [row]


WORDS = {"aligned": aligned, "immediate": immediate}


@pytest.mark.parametrize("name", FEEDBACK)
@pytest.mark.parametrize("impression", IMPRESSIONS)
@pytest.mark.parametrize("mode", MODES)
def test_each_combination_gives_what_the_mode_says(
    streams: dict[str, Stream], mode: str, impression: str, name: str
) -> None:
    rows = wanted(impression, name).elements()
    found = of(streams[mode], f"{impression}/{name}")
    assert found == Counter(said for row in rows for said in WORDS[mode](row))
