"""Where the learner stands in its topic, checked against the topic that is there; must not know samples or rows."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from checkpointing.manifest import Position
from infra.clock import Clock
from infra.errors import Bug, Invalid, Unavailable
from infra.kafka import Batch, KafkaAdmin, PartitionReader
from infra.logs import logger

_log = logger()

# How often to look for new partitions, and how long the loop may stand still for the answer.
LOOK_EVERY_S: Final = 30.0
LOOK_TIMEOUT_S: Final = 1.0


class Positions:
    """The offset of the next sample to train, by partition of one topic.

    Args:
        reader: Reads the topic; assigned here.
        admin: Knows the topic's and the cluster's ids.
        clock: For pauses between looks.
    """

    def __init__(self, reader: PartitionReader, admin: KafkaAdmin, clock: Clock) -> None:
        self._reader = reader
        self._admin = admin
        self._clock = clock
        self._next: dict[int, int] = {}
        self._topic_id: str | None = None
        self._cluster_id: str | None = None
        self._looked = 0.0

    def start(self, restored: Sequence[Position], from_ms: int | None = None) -> None:
        """Assigns the reader: where the restored version ends, and the beginning of partitions that it did not know.

        Args:
            restored: The version's.
            from_ms: Where it knows no partition at all: the first sample that Kafka took in at or after this moment.

        Raises:
            Invalid: The topic is another one than the version was trained on.
            Unavailable: Kafka does not answer, or the topic does not exist yet.
        """
        topic = self._reader.topic
        known = {position.partition: position for position in restored if position.topic == topic}
        if known and from_ms is not None:
            _log.info("from_timestamp_passed_over", topic=topic, why="the newest version says where to go on")
        beginnings = self._reader.positions_at("beginning" if known or from_ms is None else from_ms)
        description = self._admin.topics([topic]).get(topic)
        if description is None:
            raise Unavailable(f"topic `{topic}` does not exist yet", cure="start the join")
        self._topic_id, self._cluster_id = description.topic_id, self._admin.describe().cluster_id
        for position in known.values():
            for what, had, has in (
                ("topic", position.topic_id, self._topic_id),
                ("cluster", position.cluster_id, self._cluster_id),
            ):
                if had is not None and had != has:
                    raise Invalid(
                        f"the {what} behind `{topic}` is not the one that the newest version was trained on"
                        f" (id {has}, was {had})",
                        wanted="the same topic, since its offsets are where training goes on",
                        cure="restore the topic, or give the model a store prefix of its own and begin anew",
                    )
        gone = sorted(set(known) - set(beginnings))
        if gone:
            raise Invalid(f"topic `{topic}` has no partition {gone[0]} any more", cure="restore the topic")
        self._next = beginnings | {partition: position.next_offset for partition, position in known.items()}
        self._reader.assign(self._next)
        self._looked = self._clock.monotonic()

    def passed(self, batch: Batch) -> None:
        """Moves behind a batch that was learned.

        Raises:
            Bug: Messages are missing before it; the next learner reads them again from the newest version on.
        """
        for partition, begin, end in batch.runs():
            if begin != self._next[partition]:
                raise Bug(
                    f"offset {begin} came where {self._next[partition]} was next", where=f"{batch.topic}[{partition}]"
                )
            self._next[partition] = end

    def look_for_new_partitions(self) -> list[int]:
        """Now and then: partitions that were added since, which are read from their first offset on."""
        if self._clock.monotonic() - self._looked < LOOK_EVERY_S:
            return []
        self._looked = self._clock.monotonic()
        try:
            added = [each for each in self._reader.partitions(LOOK_TIMEOUT_S) if each not in self._next]
        except Unavailable:
            # Reading tells the same trouble, with its reason.
            return []
        if added:
            self._next |= dict.fromkeys(added, 0)
            self._reader.assign(self._next)
        return added

    def current(self) -> list[Position]:
        """All partitions, for a manifest."""
        return [
            Position(
                topic=self._reader.topic,
                topic_id=self._topic_id,
                cluster_id=self._cluster_id,
                partition=partition,
                next_offset=offset,
            )
            for partition, offset in sorted(self._next.items())
        ]

    def mirror(self, committed: Sequence[Position]) -> None:
        """Shows committed positions to lag tools."""
        self._reader.mirror_offsets(by_partition(committed, self._reader.topic))


def by_partition(positions: Sequence[Position], topic: str) -> Mapping[int, int]:
    """The offsets of ``topic`` in a manifest's positions."""
    return {position.partition: position.next_offset for position in positions if position.topic == topic}
