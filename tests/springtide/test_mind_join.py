"""A whole news log through the real join: every impression one verdict, every click one positive."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable

import orjson
import pytest

from infra.clock import SystemClock
from infra.kafka import KafkaAdmin, Producer, TopicSettings
from infra.local.jars import flink_kafka_connector
from infra.local.stack import LocalStack
from infra.spec import Pipeline
from springtide.datasets.mind import Mind
from springtide.datasets.replay import event_body
from streaming import heartbeat, sql, topics
from streaming.flink_rest import FlinkRest
from streaming.planner import Planner
from streaming.topic_tail import TopicTail
from tests.springtide.test_datasets import MIND

IMPRESSIONS, CLICKS = 189_359, 7_542
WAIT_S = 240.0


@pytest.mark.long
@pytest.mark.skipif(not MIND.is_dir(), reason="the MIND log is not part of the project; its folder is absent")
def test_every_impression_has_a_verdict_and_every_click_a_positive(
    local_stack: LocalStack, unique: Callable[[str], str]
) -> None:
    """Click delays are drawn: exponential, a fifth of the window on average, at most two windows; no orphan is made."""
    clock, dataset = SystemClock(), Mind.load(MIND)
    document = dataset.document()
    name = unique("mind")
    for part, topic in ((document["events"]["impressions"], "shown"), ({}, "clicks")):
        part |= {"topic": f"{name}.{topic}", "key": "id", "time": "ts"}
        if topic == "clicks":
            document["events"]["feedback"] = [{**part, "name": "click"}]
    pipeline = Pipeline.model_validate(
        {
            **document,
            "name": name,
            "kafka": {"bootstrap": local_stack.kafka.bootstrap},
            "flink": {"rest": local_stack.flink.rest, "checkpoint_interval": "5s"},
            "join": {"window": "10m", "correction_window": "21m", "idle_timeout": "5s"},
            "store": {"url": "memory://mind"},
        }
    )
    admin = KafkaAdmin(pipeline.kafka)
    admin.ensure_topics([TopicSettings(topic) for topic in topics.user_topics(pipeline)])
    admin.ensure_topics(topics.own_topics(pipeline))
    producer = Producer(pipeline.kafka)
    impressions, feedback = pipeline.events.impressions, pipeline.events.feedback[0]
    clicks: list[tuple[float, str]] = []
    newest = 0
    for event in dataset.events():
        producer.send(impressions.topic, orjson.dumps(event_body(impressions, event.key, event.time_ms, event.fields)))
        newest = max(newest, event.time_ms)
        if event.click_after is not None:
            heapq.heappush(clicks, (event.time_ms + event.click_after * pipeline.join.window.ms, event.key))
    assert len(clicks) == CLICKS
    while clicks:
        moment, key = heapq.heappop(clicks)
        producer.send(feedback.topic, orjson.dumps(event_body(feedback, key, round(moment), {})))
    for topic in topics.heartbeats(pipeline):
        producer.send(topic, heartbeat.body(newest + 3_600_000))
    producer.flush()

    emitted: Counter[str] = Counter()
    positive: set[str] = set()
    verdicts: set[str] = set()
    with (
        FlinkRest(pipeline.flink.rest) as cluster,
        Planner(flink_kafka_connector(), clock=clock) as planner,
        TopicTail(pipeline.kafka, topics.samples(name)) as samples,
        TopicTail(pipeline.kafka, topics.late(name)) as late,
    ):
        job = planner.submit(sql.plan(pipeline), cluster)
        planner.close()
        try:
            deadline = clock.monotonic() + WAIT_S
            while (len(verdicts), len(positive)) != (IMPRESSIONS, CLICKS):
                assert clock.monotonic() < deadline, (len(verdicts), len(positive), emitted)
                for record in samples.read():
                    row = orjson.loads(record.value)
                    emitted[row["kind"]] += 1
                    key = row["sample_id"].rpartition("#")[0]
                    if row["kind"] != "correction":
                        verdicts.add(key)
                    if row["label_click"] == 1:
                        positive.add(key)
                clock.sleep(0.2)
            reasons = Counter(orjson.loads(record.value)["reason"] for record in late.read())
        finally:
            cluster.cancel(job)
    assert emitted["click"] + emitted["timeout"] == IMPRESSIONS
    assert emitted["click"] + emitted["correction"] == CLICKS
    assert emitted["correction"] > 0
    assert reasons == Counter()
