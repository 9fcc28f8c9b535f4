"""Events that nobody can read become dead letters; the loop goes on and loses nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64

import orjson

from infra.clock import new_uuid
from infra.kafka import Producer
from springtide.datasets.replay import event_body
from streaming import topics
from streaming.topic_tail import TopicTail
from tests.loop.conftest import RunningLoop, fields


def test_bad_events_become_dead_letters_with_reason_and_bytes(running: RunningLoop) -> None:
    events = running.pipeline.events
    now = running.clock.now_ms()
    good = event_body(events.impressions, new_uuid(), now, fields(1, 1))
    mark = new_uuid()
    without_key = {name: value for name, value in good.items() if name != events.impressions.key} | {"user": mark}
    without_time = {name: value for name, value in good.items() if name != events.impressions.time} | {"user": mark}
    future = good | {events.impressions.time: "2099-01-01T00:00:00.000Z", "user": mark}
    bad = {
        b"\xff\xfe not json " + mark.encode(): "malformed",
        orjson.dumps(without_key): "no_key",
        orjson.dumps(without_time): "no_time",
        orjson.dumps(future): "future",
    }
    with Producer(running.pipeline.kafka) as producer:
        for body in bad:
            producer.send(events.impressions.topic, body)
        producer.send(events.impressions.topic, orjson.dumps(good))
    running.impressions += 1
    running.bad += len(bad)

    letters: dict[bytes, str] = {}
    tail = TopicTail(running.pipeline.kafka, topics.dead(running.pipeline.name))

    def all_arrived() -> bool:
        for *_, value in tail.read():
            letter = orjson.loads(value)
            letters[base64.b64decode(letter["body"])] = letter["reason"]
        return bad.items() <= letters.items()

    running.until(all_arrived, 30, "a dead letter for every bad event")
    tail.close()
    running.assert_nothing_lost()
