"""Reads so many messages of a user's topic, the newest or from a moment on; knows no format."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from infra.errors import Invalid
from infra.kafka import PartitionReader
from infra.spec import Kafka

READ_SECONDS: Final = 1.0
# A broker that is away is an error after 3 s; an answer without records so often means that there are none.
EMPTY_READS: Final = 3


@dataclass(frozen=True, slots=True)
class Message:
    """One message; ``received_ms`` is Kafka's timestamp, ms since 1970, -1 where it has none."""

    partition: int
    offset: int
    received_ms: int
    value: bytes


def sample_topic(kafka: Kafka, topic: str, count: int, *, from_ms: int | None = None, group: str) -> list[Message]:
    """At most ``count`` messages, an equal share of each partition, in the order of their receipt.

    Args:
        kafka: Where the topic is.
        topic: Its name.
        count: How many at most; deleted ones (tombstones) are not among them.
        from_ms: The first ones received from then on, ms since 1970, and where there are fewer also those just before;
            None for the newest.
        group: The consumer group named to the brokers.

    Raises:
        Invalid: The topic holds no message.
        Unavailable: No broker answers.
    """
    with PartitionReader(kafka, topic, group=group) as reader:
        held = {partition: marks for partition, marks in reader.watermarks().items() if marks.high > marks.low}
        if not held:
            raise _empty(kafka, topic)
        share = -(-count // len(held))
        newest = {partition: max(marks.low, marks.high - share) for partition, marks in held.items()}
        begin = newest
        if from_ms is not None:
            moments = reader.positions_at(max(0, from_ms))
            begin = {partition: min(moments[partition], latest) for partition, latest in newest.items()}
        ends = {partition: min(begin[partition] + share, marks.high) for partition, marks in held.items()}
        found = _read(reader, begin, ends)
    if not found:
        raise _empty(kafka, topic)
    return sorted(found, key=lambda each: (each.received_ms, each.partition, each.offset))[:count]


def _empty(kafka: Kafka, topic: str) -> Invalid:
    return Invalid(
        f"topic `{topic}` is empty",
        wanted="messages to look at",
        cure="send some events first, or name the topic that has them",
        where=kafka.bootstrap,
    )


def _read(reader: PartitionReader, begin: Mapping[int, int], ends: Mapping[int, int]) -> list[Message]:
    """What stands between two offsets in each partition."""
    reader.assign(begin)
    found: list[Message] = []
    empty = 0
    # The end marker of a transaction is an offset without a message, which the position never passes by itself.
    while empty < EMPTY_READS and any(reader.positions()[each] < end for each, end in ends.items()):
        batch = reader.poll_batch(sum(ends.values()) - sum(begin.values()), READ_SECONDS)
        empty = 0 if len(batch) else empty + 1
        for partition, offset, received, value in zip(
            batch.partitions.tolist(), batch.offsets.tolist(), batch.timestamps_ms.tolist(), batch.values, strict=True
        ):
            if value is not None and offset < ends[partition]:
                found.append(Message(partition, offset, received, value))
    return found
