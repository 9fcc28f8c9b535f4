"""Knows which feedback each replica has not learned yet, exactly; must not know Kafka, HTTP or the store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import zlib
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from dashboard.measurement import Behind, Feedback, Measurement, Place, WaitingFor

# Most feedback records followed one by one. Beyond it only one key in two is followed, then one in four, and so on;
# the oldest record always stays, so that the headline does not jump. Also the memory for keys that have a sample:
# a repeated click on a key older than that counts until the join's watermark has passed it.
CAPACITY = 50_000
# Versions remembered; a replica older than all of them reads "at least this far behind".
VERSIONS = 20_000
# No feedback for this long and none pending reads "idle".
IDLE_AFTER_MS = 30_000
# What the join had decided this long ago is believed to have reached the page's readers.
SETTLE_MS = 5_000
# One key in this many at the least is followed; beyond it the newest records are left out instead.
FEWEST = 1 << 20

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(slots=True)
class _Pending:
    feedback: Feedback
    sample: Place | None


class BehindTracker:
    """Follows feedback from Kafka into versions and replicas.

    Feedback is in a version when its key's positive sample lies below the version's position. Feedback that ended as
    late record or dead letter is absorbed, and so is a repeat: of an event (same key and event time), or of a click
    whose key has its positive sample already. Feedback of which the join has said nothing although its watermark has
    passed it by the skew is absorbed, too: a repeat of which nothing will be said, or an orphan of which nothing is
    said yet, for only an impression that comes late itself could still be its own. A record may be fed before or after
    what it belongs to; only a late record that is fed after the version that holds a sample of its key comes too late
    to move that version's figure.

    Memory is bounded: only feedback outside the newest version is held, and per version one number, the oldest
    feedback that it brought. A replica's own figure is the minimum over the versions that it has not applied.

    Args:
        skew_ms: How much later than its feedback an impression may be, in event time.
        capacity: Most feedback records, and keys with a sample, held at once.
        idle_after_ms: See :class:`Measurement`.
    """

    def __init__(self, *, skew_ms: int, capacity: int = CAPACITY, idle_after_ms: int = IDLE_AFTER_MS) -> None:
        self._skew_ms = skew_ms
        self._capacity = capacity
        self._idle_after_ms = idle_after_ms
        self._share = 1  # one key in `_share` is followed; a power of two
        self._pending: dict[Place, _Pending] = {}
        self._of_key: dict[str, list[_Pending]] = {}
        # In order of arrival. A plain dict keeps gaps where its front was removed, and walks over them each time.
        self._positive: OrderedDict[str, Place] = OrderedDict()
        self._ended_late: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._ended_dead: OrderedDict[Place, None] = OrderedDict()
        self._versions: list[int] = []
        self._positions: list[Mapping[int, int]] = []
        self._brought: list[int | None] = []  # receive time of the oldest feedback that each version brought
        self._applied: dict[str, int] = {}
        self._watermarks: deque[tuple[int, int]] = deque()
        self._settled_watermark: int | None = None
        self._last_feedback_ms: int | None = None

    def feedback(self, record: Feedback) -> None:
        """Takes one record of the user's feedback topic."""
        if self._last_feedback_ms is None or record.received_ms > self._last_feedback_ms:
            self._last_feedback_ms = record.received_ms
        key, place = record.key, record.place
        if place in self._pending or place in self._ended_dead or not self._follows(key, place):
            return
        if self._ended_late and (key, record.event_ms) in self._ended_late:
            return
        siblings = self._of_key.get(key) if key else None
        if siblings and any(each.sample is not None or each.feedback.event_ms == record.event_ms for each in siblings):
            return  # a repeat
        pending = _Pending(record, self._positive.get(key))
        self._pending[place] = pending
        if siblings:
            siblings.append(pending)
        elif key:
            self._of_key[key] = [pending]
        self._settle_if_committed(pending)
        while len(self._pending) > self._capacity:
            self._follow_fewer()

    def sample(self, key: str, partition: int, offset: int) -> None:
        """Takes one positive sample: of kind ``click`` or ``correction``."""
        if key in self._positive or not (self._follows(key, (partition, offset)) or key in self._of_key):
            return
        _remember(self._positive, key, (partition, offset), self._capacity)
        for pending in list(self._of_key.get(key, ())):
            pending.sample = (partition, offset)
            self._settle_if_committed(pending)

    def late(self, key: str, event_ms: int) -> None:
        """Takes one orphan of the late topic."""
        _remember(self._ended_late, (key, event_ms), None, self._capacity)
        for pending in list(self._of_key.get(key, ())):
            if pending.feedback.event_ms == event_ms:
                self._drop(pending)

    def dead(self, partition: int, offset: int) -> None:
        """Takes one dead letter, named by its place in the user's feedback topic."""
        _remember(self._ended_dead, (partition, offset), None, self._capacity)
        if (pending := self._pending.get((partition, offset))) is not None:
            self._drop(pending)

    def watermark(self, watermark_ms: int, now_ms: int) -> None:
        """Takes the join's watermark as it was at ``now_ms``; a join that says nothing settles nothing."""
        self._watermarks.append((now_ms, watermark_ms))
        while self._watermarks and self._watermarks[0][0] <= now_ms - SETTLE_MS:
            self._settled_watermark = self._watermarks.popleft()[1]

    def version(self, version: int, positions: Mapping[int, int]) -> None:
        """Takes the positions of one version on the samples topic: per partition the next offset.

        Versions come in ascending order; one that is already known is ignored.
        """
        if self._versions and version <= self._versions[-1]:
            return
        self._versions.append(version)
        self._positions.append(dict(positions))
        self._brought.append(None)
        for pending in [each for each in self._pending.values() if each.sample is not None]:
            self._settle_if_committed(pending)
        if len(self._versions) > VERSIONS:
            forgotten = VERSIONS // 10
            del self._versions[:forgotten], self._positions[:forgotten], self._brought[:forgotten]

    def applied(self, replica: str, version: int) -> None:
        """Takes the version that a replica answers from now; it may be older than before."""
        self._applied[replica] = version

    def forget(self, replica: str) -> None:
        """Leaves a replica out of the following measurements."""
        self._applied.pop(replica, None)

    def measure(self, now_ms: int) -> Measurement:
        """How far every replica is behind at ``now_ms``."""
        self._settle_repeats()
        joining: int | None = None
        learning: int | None = None
        waiting_for_join = 0
        for pending in self._pending.values():
            received = pending.feedback.received_ms
            if pending.sample is None:
                waiting_for_join += 1
                joining = received if joining is None else min(joining, received)
            else:
                learning = received if learning is None else min(learning, received)
        committed = _oldest(joining, learning, None)
        share = self._share
        self._follow_more()
        quiet = self._last_feedback_ms is None or now_ms - self._last_feedback_ms >= self._idle_after_ms
        return Measurement(
            committed=committed,
            replicas={
                replica: _oldest(joining, learning, self._missing(version))
                for replica, version in self._applied.items()
            },
            idle=quiet and not self._pending,
            last_feedback_ms=self._last_feedback_ms,
            waiting_for_join=waiting_for_join,
            waiting_for_learner=len(self._pending) - waiting_for_join,
            followed_share=1 / share,
        )

    def _missing(self, version: int) -> int | None:
        """Receive time of the oldest feedback in committed versions above ``version``."""
        above = self._brought[bisect_right(self._versions, version) :]
        return min((received for received in above if received is not None), default=None)

    def _settle_if_committed(self, pending: _Pending) -> None:
        """Moves ``pending`` into the first version that holds its sample, if there is one."""
        if pending.sample is None:
            return
        partition, offset = pending.sample
        if not self._positions or self._positions[-1].get(partition, 0) <= offset:
            return  # most of what has just come is in no version yet, and need not be looked for in all
        index = len(self._positions) - 1
        if index and self._positions[index - 1].get(partition, 0) > offset:
            index = bisect_right(self._positions, offset, key=lambda positions: positions.get(partition, 0))
        received = pending.feedback.received_ms
        brought = self._brought[index]
        self._brought[index] = received if brought is None else min(brought, received)
        self._drop(pending)

    def _settle_repeats(self) -> None:
        """Drops what the join must have dropped: its watermark has passed, and nothing came."""
        if self._settled_watermark is None:
            return
        passed = self._settled_watermark - self._skew_ms
        for pending in [p for p in self._pending.values() if p.sample is None and p.feedback.event_ms < passed]:
            self._drop(pending)

    def _drop(self, pending: _Pending) -> None:
        del self._pending[pending.feedback.place]
        if key := pending.feedback.key:
            siblings = self._of_key[key]
            siblings.remove(pending)
            if not siblings:
                del self._of_key[key]

    def _follows(self, key: str, place: Place) -> bool:
        return self._share == 1 or zlib.crc32((key or f"{place}").encode()) % self._share == 0

    def _follow_fewer(self) -> None:
        oldest = min(self._pending.values(), key=lambda pending: pending.feedback.received_ms)
        if self._share < FEWEST:
            self._share *= 2
            left_out = [p for p in self._pending.values() if not self._follows(p.feedback.key, p.feedback.place)]
        else:
            left_out = list(self._pending.values())[self._capacity :]
        for pending in left_out:
            if pending is not oldest:
                self._drop(pending)

    def _follow_more(self) -> None:
        if self._share > 1 and len(self._pending) * 16 < self._capacity:
            self._share //= 2


def _oldest(joining: int | None, learning: int | None, applying: int | None) -> Behind:
    candidates: tuple[tuple[int | None, WaitingFor], ...] = (
        (joining, "join"),
        (learning, "learner"),
        (applying, "replica"),
    )
    found = [(received, stage) for received, stage in candidates if received is not None]
    return Behind(*min(found)) if found else Behind()


def _remember(memory: OrderedDict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    memory[key] = value
    while len(memory) > most:
        memory.popitem(last=False)
