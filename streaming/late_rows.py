"""What the join could not use: late, repeated and unreadable events, counted and with their original bytes."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from infra import spec
from infra.kafka import PartitionReader
from streaming import topics
from streaming.topic_tail import TopicTail

_FETCH_S: Final = 5.0


@dataclass(frozen=True)
class Unused:
    """An event that became no sample.

    Attributes:
        reason: Why.
        feedback: The kind of feedback that it is, or whose label it misses; None for others.
        key: Its join key, or None where it cannot be read.
        topic: The user's topic in which it stands.
        partition: Its partition there.
        offset: Its offset there.
        told_ms: When the join told it, ms since 1970.
        body: Its original bytes; None where they are not asked for, or not kept by the topic any more.
    """

    reason: str
    feedback: str | None
    key: str | None
    topic: str
    partition: int
    offset: int
    told_ms: int
    body: bytes | None


def unused(pipeline: spec.Pipeline, *, since_ms: int = 0) -> Iterator[Unused]:
    """Everything that the join has set aside since then, what was late first; each event once per reason.

    Raises:
        Unavailable: No broker answers, or the join has not made its topics yet.
    """
    seen: set[tuple[str, str | None, str, int, int]] = set()
    for topic, body_inside in ((topics.late(pipeline.name), False), (topics.dead(pipeline.name), True)):
        with TopicTail(pipeline.kafka, topic, since_ms=since_ms, group=f"springtide.{pipeline.name}.late") as tail:
            for record in tail.read():
                row: dict[str, Any] = orjson.loads(record.value)
                if "topic" not in row:
                    continue  # written before rows said where their event stands
                body = base64.b64decode(row["body"]) if body_inside and row["body"] is not None else None
                found = Unused(
                    row["reason"],
                    row.get("feedback"),
                    row.get("key"),
                    row["topic"],
                    row["partition"],
                    row["offset"],
                    record.received_ms,
                    body,
                )
                place = (found.reason, found.feedback, found.topic, found.partition, found.offset)
                if place not in seen:
                    seen.add(place)
                    yield found


def counts(rows: list[Unused]) -> Counter[tuple[str, str, str]]:
    """How many there are of each reason, topic and kind of feedback (empty for none)."""
    return Counter((row.reason, row.topic, row.feedback or "") for row in rows)


def original(pipeline: spec.Pipeline, row: Unused) -> bytes | None:
    """The event's bytes as they stand in the user's topic; None where it keeps them no longer.

    Raises:
        Unavailable: No broker answers.
    """
    if row.body is not None:
        return row.body
    with PartitionReader(pipeline.kafka, row.topic, group=f"springtide.{pipeline.name}.late") as reader:
        marks = reader.watermarks().get(row.partition)
        if marks is None or not marks.low <= row.offset < marks.high:
            return None
        reader.assign({row.partition: row.offset})
        batch = reader.poll_batch(1, _FETCH_S)
    if not len(batch.values) or int(batch.offsets[0]) != row.offset:
        return None
    return batch.values[0]
