"""What became of events is counted by reason, and how late feedback comes is shown, while the join runs."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import orjson

from infra.clock import SystemClock
from infra.kafka import KafkaAdmin, Producer
from infra.local.kafka_server import KafkaServer
from infra.metrics import Metrics
from streaming import topics
from streaming.outcome_watch import OutcomeWatch
from tests.streaming.pipelines import pipeline
from tests.streaming.test_delays import orphan, sample

WAIT_S = 20.0


def test_outcomes_are_counted_from_the_start_of_the_process(
    local_kafka: KafkaServer, unique: Callable[[str], str]
) -> None:
    clock = SystemClock()
    spec = pipeline(
        unique("outcomes"),
        kafka={"bootstrap": local_kafka.bootstrap},
        join={"window": "10s", "correction_window": "1m"},
    )
    KafkaAdmin(spec.kafka).ensure_topics(topics.own_topics(spec))
    producer = Producer(spec.kafka)
    dead = {"reason": "malformed", "topic": "shown", "partition": 0, "offset": 7}

    def send() -> None:
        for seconds in (2_000, 9_000, 11_000, None):
            producer.send(topics.samples(spec.name), orjson.dumps(sample(1, seconds)))
        producer.send(topics.late(spec.name), orjson.dumps(orphan(1)))
        producer.send(topics.late(spec.name), orjson.dumps({"reason": "repeat", "key": "k", "feedback": None}))
        producer.send(topics.dead(spec.name), orjson.dumps(dead))
        producer.flush()

    send()  # before the process: in the topics, not in its metrics
    metrics = Metrics("join", clock=clock)
    with closing(OutcomeWatch(spec, clock=clock, metrics=metrics)) as watch:
        watch.look()
        send()

        def counted() -> tuple[float, ...]:
            return (
                metrics.value("springtide_join_late_total", feedback="click", reason="orphan"),
                metrics.value("springtide_join_late_total", feedback="", reason="repeat"),
                metrics.value("springtide_join_dead_letters_total", topic="shown", reason="malformed"),
                metrics.value("springtide_join_feedback_delay_seconds", feedback="click"),
            )

        deadline = clock.monotonic() + WAIT_S
        while counted() != (1, 1, 1, 3):
            assert clock.monotonic() < deadline, counted()
            watch.look()
            clock.sleep(0.05)
        # Two of three clicks came inside the window, and the orphan did not.
        assert metrics.value("springtide_join_window_coverage_ratio", feedback="click") == 0.5
