"""What was late is joined again, under ids of its own, and nothing becomes positive twice."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming.late_rows import replay, unused, wanted
from streaming.planner import Planner
from tests.streaming.events import Stream
from tests.streaming.running import CLOCK, running_join
from tests.streaming.truth import CORRECTION, FEEDBACK, SKEW, WINDOW, of, send

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def outcomes(local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner) -> Iterator[Stream]:
    """The truth table, and its late events joined again."""
    with running_join(local_kafka, local_flink, planner, "late") as stream:
        send(stream)
        spec = stream.pipeline
        replay(spec, wanted(spec, unused(spec)), planner, clock=CLOCK)
        again = {name: each for name, each in wanted(spec, unused(spec)).items() if each.without_verdict}
        stream.until(lambda: any(row["sample_id"].endswith(".2") for row in stream.samples), "the replayed samples")
        for _ in range(20):
            stream.collect()
        # An orphan without an impression never gets a verdict.
        assert all(not of_samples(stream, key) for each in again.values() for key in each.without_verdict)
        yield stream


def of_samples(stream: Stream, key: str) -> list[tuple[Any, ...]]:
    return sorted(row for row in of(stream, key).elements() if str(row[0]).startswith("#"))


@pytest.mark.parametrize("name", FEEDBACK)
def test_a_late_impression_has_its_verdict_now(outcomes: Stream, name: str) -> None:
    times = [seconds for _, seconds in FEEDBACK[name].clicks if -SKEW <= seconds <= CORRECTION]
    if times and times[0] <= WINDOW:
        expected: list[tuple[Any, ...]] = [("#click.2", "click", 1, times[0])]
    else:
        expected = [("#click.2", "timeout", 0, float(WINDOW))]
        expected += [("#click.3", "correction", 1, times[0])] if times else []
    assert of_samples(outcomes, f"late/{name}") == expected


@pytest.mark.parametrize("name", FEEDBACK)
def test_what_was_joined_in_time_is_not_joined_again(outcomes: Stream, name: str) -> None:
    ends = {row[0] for row in of_samples(outcomes, f"on_time/{name}")}
    assert ends <= {"#click.0", "#click.1"}
    assert of_samples(outcomes, f"missing/{name}") == []
