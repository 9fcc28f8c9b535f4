"""After an outage of the broker, heartbeats do not run ahead of the events that producers still hold."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from infra.clock import SystemClock, iso
from infra.kafka import KafkaAdmin, Producer, TopicSettings
from infra.local.kafka_server import KafkaServer
from infra.metrics import Metrics
from infra.spec import Kafka
from streaming.heartbeat import BACKLOG_MS, Heartbeats
from streaming.topic_tail import TopicTail

INTERVAL_S = 0.1
# Longer than what counts as an outage.
AWAY_S = 3.0


@pytest.mark.long  # half a minute of waiting
@pytest.mark.timeout(180)
def test_one_heartbeat_is_from_the_outage_and_none_follows_until_producers_have_tried_again(
    local_kafka: KafkaServer, unique: Callable[[str], str]
) -> None:
    clock, kafka, topic = SystemClock(), Kafka(bootstrap=local_kafka.bootstrap), unique("heartbeats")
    KafkaAdmin(kafka).ensure_topics([TopicSettings(topic, 1)])

    def until(count: int) -> None:
        deadline = clock.monotonic() + 60
        while beats.delivered()["click"] < count:
            assert clock.monotonic() < deadline, f"not {count} heartbeats in time"
            beats.raise_failure()
            clock.sleep(0.02)

    with Producer(kafka) as producer:
        beats = Heartbeats(
            producer, {"click": topic}, interval=INTERVAL_S, clock=clock, metrics=Metrics("join", clock=clock)
        )
        with beats:
            until(5)
            killed_ms = clock.now_ms()
            local_kafka.kill()
            clock.sleep(AWAY_S)
            back_ms = clock.now_ms()
            local_kafka.start()
            before = beats.delivered()["click"]
            until(before + 3)
    with TopicTail(kafka, topic) as tail:
        stamps = [orjson.loads(record.value)["ts"] for record in tail.read()]
    # The one that was on its way when the broker went is of before; the next is as young as it says.
    assert not [stamp for stamp in stamps if iso(killed_ms + 1000) < stamp < iso(back_ms + BACKLOG_MS)]
    assert stamps[-1] > iso(back_ms + BACKLOG_MS)
