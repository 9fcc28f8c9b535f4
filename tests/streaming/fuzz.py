"""Spoils events of any encoding and keeps account of every message of both topics; must not know an encoding."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from typing import Any

from streaming import topics
from tests.streaming.events import Stream
from tests.streaming.truth import AGE_MS

MESSAGES = 250


def spoilt(chance: random.Random, whole: bytes) -> bytes | None:
    """Something that once was an event, or never was."""
    body = bytearray(whole)
    way = chance.randrange(7)
    if way == 0:
        return None
    if way == 1:
        return chance.randbytes(chance.randrange(60))
    if way == 2:
        return bytes(body[: chance.randrange(len(body))])
    if way == 3:
        return bytes(body) + chance.randbytes(1 + chance.randrange(3))
    if way == 4:
        return bytes(body)
    for _ in range(1 + chance.randrange(3)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    return bytes(body)


def ended(stream: Stream, topic: int) -> int:
    """How many verdicts, late rows and dead letters the messages of the impressions (0) or clicks (1) have become."""
    name = topics.user_topics(stream.pipeline)[topic]
    found = len([row for row in (*stream.late, *stream.dead) if row["topic"] == name])
    if topic == 0:
        return found + len([row for row in stream.samples if row["sample_id"].endswith("#click.0")])
    return found + len([row for row in stream.samples if row["label_click"] == 1])


def sent(stream: Stream, topic: int) -> int:
    """How many messages the topic holds."""
    return sum(marks.high for marks in stream.marks(topic).values())


def fuzz_both_topics(stream: Stream, *, seed: int, seconds: float, fields: Mapping[str, Any]) -> None:
    """Sends spoilt messages among good ones to both topics; every message ever sent there must end exactly once.

    Moves event time close to now: nothing can be joined afterwards.
    """
    chance = random.Random(seed)
    bodies: list[list[bytes | None]] = [[], []]
    for number in range(MESSAGES):
        key = f"spoilt-{seed}-{number:04}"
        for topic, own in enumerate((fields, {})):
            bodies[topic].append(spoilt(chance, stream.encode(topic, key, seconds + topic, **own)))
            stream.raw(topic, bodies[topic][-1])
    for topic in (0, 1):
        stream.raw(topic, chance.randbytes(700_000))
    # Every character of it becomes six in a sample.
    long = 150_000 if stream.pipeline.events.impressions.format == "json" else 400_000
    stream.raw(0, stream.encode(0, f"long-{seed}", seconds, item="\1" * long))
    stream.producer.flush()
    stream.advance(seconds)

    def all_ended() -> bool:
        # A spoilt time may be any up to a minute from now.
        stream.heartbeat(AGE_MS / 1000 + 55)
        stream.producer.flush()
        return all(ended(stream, topic) >= sent(stream, topic) for topic in (0, 1))

    stream.until(all_ended, "an end for each")
    for _ in range(20):
        stream.collect()
    for topic in (0, 1):
        assert ended(stream, topic) == sent(stream, topic)
        name = topics.user_topics(stream.pipeline)[topic]
        rows = [row for row in stream.dead if row["topic"] == name]
        assert len({(row["partition"], row["offset"]) for row in rows}) == len(rows) > MESSAGES // 5
        kept = {None if row["body"] is None else base64.b64decode(row["body"]) for row in rows}
        assert len(kept & set(bodies[topic])) > MESSAGES // 5
    assert all(row["body"] is not None for row in stream.late)
