"""What the join's benchmarks have in common: a pipeline, its events, a job that runs; measures nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from infra.clock import SystemClock, iso
from infra.kafka import KafkaAdmin, PartitionReader, Producer, TopicSettings
from infra.local.stack import LocalStack
from infra.spec import Pipeline
from streaming import heartbeat, topics
from streaming.flink_rest import FlinkRest
from streaming.planner import Planner
from streaming.sql import JoinPlan

CLICKED = 4  # every so-manieth impression
DEADLINE_S = 240.0
FIELDS = ("user", "item", "place", "device", "category", "campaign")
CLOCK = SystemClock()


def pipeline(name: str, stack: LocalStack, **join: str) -> Pipeline:
    """Six text features, windows of ten minutes and an hour."""
    topic = {"key": "id", "time": "ts"}
    return Pipeline.model_validate(
        {
            "name": name,
            "kafka": {"bootstrap": stack.kafka.bootstrap},
            "events": {
                "impressions": {**topic, "topic": f"{name}.impressions", "fields": [{"name": each} for each in FIELDS]},
                "feedback": [{**topic, "name": "click", "topic": f"{name}.clicks"}],
            },
            "join": join,
            "flink": {"rest": stack.flink.rest},
            "features": [{"name": "item", "source": "item", "table": "items"}],
            "tables": [{"name": "items", "dim": 8}],
            "store": {"url": "memory://bench"},
        }
    )


def create_topics(spec: Pipeline) -> None:
    admin = KafkaAdmin(spec.kafka)
    admin.ensure_topics([TopicSettings(name) for name in (*topics.user_topics(spec), f"{spec.name}.bare")])
    admin.ensure_topics(topics.own_topics(spec))


def impression(number: int, ms: int) -> bytes:
    fields = {name: f"{name}-{number * 7919 % (1000 * (place + 1))}" for place, name in enumerate(FIELDS)}
    return orjson.dumps({"id": f"impression-{number}", "ts": iso(ms), **fields})


def click(number: int, ms: int) -> bytes:
    return orjson.dumps({"id": f"impression-{number}", "ts": iso(ms)})


def fill(spec: Pipeline, count: int, begin_ms: int, step_ms: int) -> None:
    """Impressions in the order of time, and their clicks three seconds later."""
    producer = Producer(spec.kafka)
    shown, clicked = topics.user_topics(spec)
    for number in range(count):
        producer.send(shown, impression(number, begin_ms + number * step_ms))
        if number % CLICKED == 0:
            producer.send(clicked, click(number, begin_ms + number * step_ms + 3000))
    producer.flush()


def beat(spec: Pipeline, ms: int) -> None:
    """Moves event time to ``ms`` less the out-of-orderness."""
    producer = Producer(spec.kafka)
    for topic in topics.heartbeats(spec):
        producer.send(topic, heartbeat.body(ms))
    producer.flush()


@contextmanager
def running(plan: JoinPlan, spec: Pipeline, planner: Planner) -> Iterator[tuple[FlinkRest, str]]:
    """The job while it runs."""
    with FlinkRest(spec.flink.rest) as cluster:
        job = planner.submit(plan, cluster)
        try:
            yield cluster, job
        finally:
            cluster.cancel(job)
            until(lambda: (found := cluster.job(job)) is None or found.ended, "the job's end")


def until(condition: Any, what: str) -> None:
    deadline = CLOCK.monotonic() + DEADLINE_S
    while not condition():
        if CLOCK.monotonic() > deadline:
            raise SystemExit(f"not within {DEADLINE_S:.0f} s: {what}")
        CLOCK.sleep(0.02)


def written(spec: Pipeline) -> int:
    with PartitionReader(spec.kafka, topics.samples(spec.name)) as reader:
        return sum(marks.high for marks in reader.watermarks().values())
