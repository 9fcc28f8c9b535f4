"""A join that begins with now: both labels from its first second, and nothing that could be known before."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import orjson
import pytest

from infra.clock import SystemClock
from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming import topics
from streaming.beginning import first_cutover_ms
from streaming.planner import Planner
from tests.streaming.events import Stream
from tests.streaming.pipelines import pipeline
from tests.streaming.running import running_join
from tests.streaming.truth import WINDOW

CUTOVER_S, END_S = 120, 130
CLICK_AFTER_S = 0.5


def test_a_join_begins_with_now_where_the_pipeline_says_so() -> None:
    clock = SystemClock()
    before = clock.now_ms()
    assert before <= first_cutover_ms(pipeline(join={"start": "now"}), clock, replay=False) <= clock.now_ms()
    assert first_cutover_ms(pipeline(join={"start": "now"}), clock, replay=True) == 0
    assert first_cutover_ms(pipeline(), clock, replay=False) == 0


@pytest.mark.long
def test_both_labels_flow_from_the_first_second(
    local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner
) -> None:
    """Two impressions a second, one of them clicked, for minutes before the cut-over and on after it."""

    def send(stream: Stream, topic: int, key: str, seconds: float) -> None:
        moment = stream.base_ms + round(seconds * 1000)
        body = orjson.dumps({"id": key, "ts": stream.time(seconds)})
        stream.producer.send(topics.user_topics(stream.pipeline)[topic], body, timestamp_ms=moment)

    with running_join(local_kafka, local_flink, planner, "cold", cutover_s=CUTOVER_S) as stream:
        for second in range(END_S):
            send(stream, 0, f"clicked-{second}", second)
            send(stream, 0, f"silent-{second}", second)
            send(stream, 1, f"clicked-{second}", second + CLICK_AFTER_S)
        stream.advance(END_S + WINDOW + 1.0)
        wanted = {f"clicked-{second}#click.0" for second in range(CUTOVER_S, END_S)}
        wanted |= {f"silent-{second}#click.0" for second in range(CUTOVER_S - WINDOW, END_S)}

        def own() -> dict[str, dict[str, Any]]:
            return {
                row["sample_id"]: row for row in stream.samples if row["sample_id"].startswith(("clicked-", "silent-"))
            }

        # One join may tell that it has come so far before the other one does.
        stream.until(lambda: set(own()) >= wanted, "every sample from the cut-over on")
        assert set(own()) == wanted
        first = [row for row in own().values() if row["known_ts"] < stream.time(CUTOVER_S + 1)]
        assert {row["label_click"] for row in first} == {0, 1}
