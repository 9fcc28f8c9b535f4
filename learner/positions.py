"""Where the learner stands in its topic, checked against the topic that is there; must not know samples or rows."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from checkpointing.manifest import Position
from infra.clock import Clock
from infra.errors import Bug, Invalid, Unavailable
from infra.kafka import Batch, KafkaAdmin, PartitionReader, PositionOutOfRange
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
        accept_gap: Whether a person has decided to go on without the samples that the topic has lost.
    """

    def __init__(self, reader: PartitionReader, admin: KafkaAdmin, clock: Clock, *, accept_gap: bool = False) -> None:
        self._reader = reader
        self._admin = admin
        self._clock = clock
        self._accept_gap = accept_gap
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
            Invalid: The topic is another one than the version was trained on, or does not hold its positions any more;
                unless the gap is accepted, and training goes on with the oldest sample that there is.
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
        another = self._another(list(known.values()))
        if another is not None and not self._accept_gap:
            raise another
        gone = sorted(set(known) - set(beginnings))
        if gone:
            raise Invalid(f"topic `{topic}` has no partition {gone[0]} any more", cure="restore the topic")
        if another is not None:
            _log.warning("gap_accepted", topic=topic, why=another.what)
            self._next = beginnings
        else:
            self._next = beginnings | self._held({each: position.next_offset for each, position in known.items()})
        self._reader.assign(self._next)
        self._looked = self._clock.monotonic()

    def _another(self, known: Sequence[Position]) -> Invalid | None:
        """What says that the topic or its cluster is not the one that these positions are of."""
        for position in known:
            for what, had, has in (
                ("topic", position.topic_id, self._topic_id),
                ("cluster", position.cluster_id, self._cluster_id),
            ):
                if had is not None and had != has:
                    return Invalid(
                        f"the {what} behind `{self._reader.topic}` is not the one that the newest version was trained"
                        f" on (id {has}, was {had})",
                        wanted="the same topic, since its offsets are where training goes on",
                        cure="restore the topic; `springtide learn --accept-gap` begins with the oldest sample here",
                    )
        return None

    def _held(self, wanted: dict[int, int]) -> dict[int, int]:
        """These positions, or where the gap is accepted those nearest to them that the topic holds."""
        found = {}
        for partition, marks in (self._reader.watermarks() if wanted else {}).items():
            position = wanted.get(partition)
            if position is None:
                continue
            found[partition] = min(max(position, marks.low), marks.high)
            if found[partition] != position:
                lost = PositionOutOfRange(self._reader.topic, partition, position, marks)
                if not self._accept_gap:
                    raise lost
                _log.warning("gap_accepted", topic=self._reader.topic, partition=partition, why=lost.what)
        return found

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
