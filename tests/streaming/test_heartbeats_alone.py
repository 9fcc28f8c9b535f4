"""Heartbeats alone close windows where topics are silent; what comes then is late, and told, as behind any event."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming.planner import Planner
from tests.streaming.events import Stream
from tests.streaming.running import running_join
from tests.streaming.truth import TIMEOUT, correction, of, orphan

# The window of an impression at 0 s is closed by then, its correction window is open.
CLOSED_S = 9.0


@pytest.fixture(scope="module")
def stream(local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner) -> Iterator[Stream]:
    """A join of which one impression was sent; heartbeats have closed its window."""
    with running_join(local_kafka, local_flink, planner, "alone") as found:
        found.impression("in time", 0.0)
        found.heartbeat(CLOSED_S + found.pipeline.join.out_of_orderness.seconds)
        found.producer.flush()
        # No topic of events has said a word since: they count as idle, and only heartbeats speak.
        found.until(lambda: of(found, "in time") == Counter([TIMEOUT]), "the verdict")
        found.click("in time", 2.0)
        found.impression("late", 0.0)
        found.click("late", 2.0)
        found.producer.flush()
        found.advance(60.0)
        found.advance(61.0)
        yield found


def test_a_click_after_its_window_corrects_the_verdict(stream: Stream) -> None:
    assert of(stream, "in time") == Counter([TIMEOUT, correction(2.0)])


def test_an_impression_after_its_window_is_told_as_late_and_its_click_as_an_orphan(stream: Stream) -> None:
    assert of(stream, "late") == Counter([("late_impression", 0.0, None), orphan(2.0)])
