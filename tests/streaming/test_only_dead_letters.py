"""A topic that a broken producer fills with nothing but dead letters: event time goes on, hours behind."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming.planner import Planner
from tests.streaming.controlled import READY_S
from tests.streaming.events import Stream
from tests.streaming.running import running_join
from tests.streaming.truth import AGE_MS

pytestmark = pytest.mark.long


def test_a_topic_of_nothing_but_dead_letters_does_not_hold_event_time_back(
    local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner
) -> None:
    """They come more often than the idle timeout, so their partition never counts as idle."""
    with running_join(local_kafka, local_flink, planner, "dead", age_ms=6 * AGE_MS) as stream:
        stream.impression("clicked", 0.0)
        stream.click("clicked", 1.0)
        await_amid_dead_letters(stream, "clicked#click.0")
        stream.impression("shown", 2.0)
        stream.heartbeat(60.0)
        await_amid_dead_letters(stream, "shown#click.0")
        assert {row["reason"] for row in stream.dead} == {"malformed"}
        assert not stream.late


def await_amid_dead_letters(stream: Stream, sample_id: str) -> None:
    """Fills the clicks with what is no event, several times a second, until the sample is there."""

    def found() -> bool:
        stream.raw(1, b"{")
        stream.producer.flush()
        return any(row["sample_id"] == sample_id for row in stream.samples)

    stream.until(found, sample_id, READY_S)
