"""What the gate remembers of the stream and of sizes, as named arrays of a version and back; judges nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from learner.witness import Seen

NamedArrays = dict[str, npt.NDArray[Any]]

_PREFIX: Final = "gate/"
# How many samples what is normal rests on, at most: it follows the stream.
MEMORY_SAMPLES: Final = 20_000.0
# Where a version holds fewer samples than these, those before it are looked at again: few tell a column that is gone,
# and many a label that became rare.
TAILS: Final = (64.0, 512.0)
# Share of a new mean square in the one that is normal.
_NEW: Final = 0.2
# Verdicts may be so much behind feedback, beside a window and what the join lets its topics run ahead of each other: a
# worker that is lost and found takes less.
PATIENCE_MS: Final = 60_000


@dataclass
class Memory:
    """Counts up to the last servable version, and since.

    Args:
        labels: How many labels.
        columns: How many columns.
        normal: What the stream showed in servable versions.
        tails: Its newest samples, as many as :data:`TAILS` says.
        since: What it showed since the last servable version.
        closed: ``[2]``, samples and positives of closed buckets in servable versions.
        buckets: Samples and positives by bucket of event time, of those that are not in ``closed`` yet.
        closed_through: Buckets that begin before this are in ``closed``, or were never whole.
        newest_ms: The newest ``known_ts``; None before the first sample.
        passed_ms: Event time of which all verdicts of the first kind have come; None where it is not told.
        row_squares: Mean square of changed rows in servable versions, by table.
        row_sums: ``[2]``, sum of squares and number of values since, by table.
        refusals: Refused versions with samples, in a row.
        servable: The last servable version; 0 without any.
    """

    labels: int
    columns: int
    normal: Seen = field(init=False)
    tails: list[Seen] = field(init=False)
    since: Seen = field(init=False)
    closed: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    buckets: dict[int, npt.NDArray[np.float64]] = field(default_factory=dict)
    closed_through: int | None = None
    newest_ms: int | None = None
    passed_ms: int | None = None
    row_squares: dict[str, float] = field(default_factory=dict)
    row_sums: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    refusals: int = 0
    servable: int = 0

    def __post_init__(self) -> None:
        self.normal, self.since, *self.tails = (Seen.nothing(self.labels, self.columns) for _ in range(2 + len(TAILS)))

    def recent(self) -> list[Seen]:
        """The samples since the last servable version, and the same with some before them where they are few.

        The first tells what breaks at once, the others what would never be enough in one version.
        """
        since = self.since
        pairs = zip(self.tails, TAILS, strict=True)
        return [since, *(tail.plus(since, max(0.0, 1.0 - since.samples / most)) for tail, most in pairs)]

    def closed_since(self, bucket_ms: int, window_ms: int, ahead_ms: int) -> npt.NDArray[np.float64]:
        """Samples and positives, ``[2]``, of the buckets that closed since the last servable version."""
        closed = [self.buckets[start] for start in self._closed(bucket_ms, window_ms, ahead_ms)]
        return np.sum(closed, axis=0) if closed else np.zeros(2)

    def accept(self, bucket_ms: int, window_ms: int, ahead_ms: int) -> None:
        """Takes what came since the last servable version for normal."""
        seen, nothing = self.since, Seen.nothing(self.labels, self.columns)
        self.normal = self.normal.plus(seen, _kept(self.normal.samples, seen.samples))
        for place, most in enumerate(TAILS):
            whole = self.tails[place].plus(seen)
            self.tails[place] = whole.plus(nothing, min(1.0, most / max(whole.samples, 1.0)))
        for start in self._closed(bucket_ms, window_ms, ahead_ms):
            bucket = self.buckets.pop(start)
            self.closed = self.closed * _kept(self.closed[0], bucket[0]) + bucket
            self.closed_through = max(self.closed_through or 0, start + bucket_ms)
        for table, (squares, values) in self.row_sums.items():
            if values:
                now = float(squares / values)
                self.row_squares[table] = now * _NEW + self.row_squares.get(table, now) * (1 - _NEW)
        self.row_sums.clear()
        self.since = nothing
        self.refusals = 0

    def forget_since(self) -> None:
        """The learner went back: what came since the last servable version is none of its doing."""
        self.since = Seen.nothing(self.labels, self.columns)
        # What is missing of these buckets now would look like a change of rate.
        self.buckets.clear()
        self.closed_through = self.newest_ms
        self.row_sums.clear()
        self.refusals = 0

    def _closed(self, bucket_ms: int, window_ms: int, ahead_ms: int) -> list[int]:
        if self.newest_ms is None:
            return []
        # What users did comes at once, and what they did not with event time, which may be held up: until then a
        # bucket holds nothing but the one. Where it is held up for ever, the stream is broken all the same.
        end = max(self.passed_ms or 0, self.newest_ms - window_ms - ahead_ms - PATIENCE_MS)
        return [start for start in sorted(self.buckets) if start + bucket_ms + window_ms <= end]

    def to_arrays(self) -> NamedArrays:
        """Everything, by name."""
        starts = sorted(self.buckets)
        tables = sorted({*self.row_squares, *self.row_sums})
        nothing = np.zeros(2)
        rows = [[self.row_squares.get(name, np.nan), *self.row_sums.get(name, nothing)] for name in tables]
        times = (self.closed_through, self.newest_ms, self.passed_ms)
        through, newest, passed = (-1 if each is None else each for each in times)
        return {
            f"{_PREFIX}seen": np.stack([_flat(each) for each in (self.normal, self.since, *self.tails)]),
            f"{_PREFIX}closed": self.closed,
            f"{_PREFIX}starts": np.array(starts, np.int64),
            f"{_PREFIX}buckets": np.array([self.buckets[start] for start in starts], np.float64).reshape(-1, 2),
            f"{_PREFIX}rows": np.array(rows, np.float64).reshape(-1, 3),
            f"{_PREFIX}tables": np.frombuffer("\n".join(tables).encode(), np.uint8).copy(),
            f"{_PREFIX}state": np.array([through, newest, self.refusals, self.servable, passed], np.int64),
        }

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Takes over what :meth:`to_arrays` gave; of other labels or columns, or none at all: begins anew."""
        fresh = Memory(self.labels, self.columns)
        seen = arrays.get(f"{_PREFIX}seen")
        if seen is not None and seen.shape == (2 + len(TAILS), len(_flat(fresh.normal))):
            fresh.normal, fresh.since, *fresh.tails = (_unflat(each, self.labels) for each in seen)
            fresh.closed = np.array(arrays[f"{_PREFIX}closed"])
            pairs = zip(arrays[f"{_PREFIX}starts"].tolist(), arrays[f"{_PREFIX}buckets"], strict=True)
            fresh.buckets = {start: np.array(bucket) for start, bucket in pairs}
            names = bytes(arrays[f"{_PREFIX}tables"]).decode().split("\n")
            for name, (square, *sums) in zip(names, arrays[f"{_PREFIX}rows"], strict=False):
                if not np.isnan(square):
                    fresh.row_squares[name] = float(square)
                fresh.row_sums[name] = np.array(sums)
            through, newest, fresh.refusals, fresh.servable, *rest = arrays[f"{_PREFIX}state"].tolist()
            # Older versions do not say what has passed.
            times = (through, newest, *(rest or [newest]))
            fresh.closed_through, fresh.newest_ms, fresh.passed_ms = (None if each < 0 else each for each in times)
        self.__dict__.update(fresh.__dict__)


def without_memory(arrays: Mapping[str, npt.NDArray[Any]]) -> NamedArrays:
    """The arrays that are not the gate's."""
    return {name: array for name, array in arrays.items() if not name.startswith(_PREFIX)}


def _kept(before: float, new: float) -> float:
    return max(0.0, min(1.0, (MEMORY_SAMPLES - new) / before)) if before else 1.0


def _flat(seen: Seen) -> npt.NDArray[np.float64]:
    return np.concatenate([[seen.samples], seen.known, seen.positives, seen.present])


def _unflat(row: npt.NDArray[np.float64], labels: int) -> Seen:
    known, positives, present = np.split(np.array(row[1:]), [labels, 2 * labels])
    return Seen(float(row[0]), known, positives, present)
