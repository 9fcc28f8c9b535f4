"""Keeps the newest samples and counts what all of them showed, for the gate; must not know what is judged of it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kernels.batch import EncodedBatch
from learner.decode import Samples, is_timeout
from learner.step import StepResult

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.float64]

# A verdict's age is the window; feedback of that age is rare.
_OLD: Final = 0.9


@dataclass(frozen=True)
class Chunk:
    """Samples that were learned together.

    Args:
        encoded: Their ids and scaled numbers.
        labels: ``[n, labels]``, NaN where null.
        log_rates: ``[n]``.
        losses: ``[n, labels]``, of the predictions made before learning.
        predictions: ``[n, labels]``, those predictions.
    """

    encoded: EncodedBatch
    labels: Floats
    log_rates: Floats
    losses: Floats
    predictions: Floats

    def last(self, count: int) -> Chunk:
        """The last ``count`` samples."""
        n = len(self.labels)
        if count >= n:
            return self
        part = slice(n - count, n)
        return Chunk(
            self.encoded.part(n - count, n),
            self.labels[part],
            self.log_rates[part],
            self.losses[part],
            self.predictions[part],
        )


@dataclass
class Seen:
    """What a stretch of samples showed; stretches add up.

    Args:
        samples: How many.
        known: ``[labels]``, how many had the label, no sooner than nine tenths of the window after the impression: the
            verdicts. Earlier ones are feedback alone, and tell how traffic changes.
        positives: ``[labels]``, how many of those had it 1.
        present: ``[columns]``, how many had the column.
    """

    samples: float
    known: Counts
    positives: Counts
    present: Counts

    @classmethod
    def nothing(cls, labels: int, columns: int) -> Seen:
        """Of no sample."""
        return cls(0.0, np.zeros(labels), np.zeros(labels), np.zeros(columns))

    def plus(self, other: Seen, keep: float = 1.0) -> Seen:
        """Both together, of this one only the share ``keep``."""
        return Seen(
            self.samples * keep + other.samples,
            self.known * keep + other.known,
            self.positives * keep + other.positives,
            self.present * keep + other.present,
        )


@dataclass(frozen=True)
class Evidence:
    """What the gate gets to see of the samples since the last capture.

    Args:
        chunks: The newest samples, oldest first.
        seen: What all of them showed.
        known_ms: The newest ``known_ts`` among them; None without samples.
        passed_ms: The newest one of those that tell of no feedback of the first kind: for it, every such verdict of
            before has come. None without any.
        losses: ``[n, labels]``, of ``chunks`` by the weights at the capture; filled then.
        predictions: ``[n, labels]``, likewise.
        buckets: Samples and positives of the first label by event-time bucket, ``{start: (samples, positives)}``.
        earlier: How many of ``chunks``, the leading ones, are of an earlier capture.
    """

    chunks: tuple[Chunk, ...]
    seen: Seen
    known_ms: int | None
    passed_ms: int | None
    losses: Floats
    predictions: Floats
    buckets: dict[int, tuple[int, int]] = field(default_factory=dict)
    earlier: int = 0

    @property
    def newest(self) -> tuple[Chunk, ...]:
        """The chunks since the last capture."""
        return self.chunks[self.earlier :]


class Witness:
    """Notes each batch that was learned.

    Args:
        most: How many of the newest samples are kept.
        columns: The features' columns.
        windows_ms: How long feedback is waited for, per label.
    """

    def __init__(self, most: int, columns: Sequence[str], windows_ms: Sequence[int]) -> None:
        self._most = most
        self._columns = tuple(columns)
        self._labels = labels = len(windows_ms)
        self._old_ms = _OLD * np.asarray(windows_ms, np.float64)
        self._chunks: deque[Chunk] = deque()
        self._kept = 0
        self._seen = Seen.nothing(labels, len(self._columns))
        self._known_ms: int | None = None
        self._passed_ms: int | None = None

    def note(self, samples: Samples, encoded: EncodedBatch, part: slice, result: StepResult) -> None:
        """Takes ``part`` of ``samples``, which were just learned, with their own ``encoded``."""
        labels = samples.labels[part]
        known, here = samples.known_ms[part], ~np.isnan(labels)
        old = (known - samples.impression_ms[part])[:, np.newaxis] >= self._old_ms
        whole = len(labels) == len(samples)
        columns = [samples.columns[name] for name in self._columns]
        present = [_present(each if whole else each.slice(part.start, len(labels))) for each in columns]
        self._seen = self._seen.plus(
            Seen(
                len(labels),
                (here & old).sum(axis=0, dtype=np.float64),
                ((labels > 0.5) & old).sum(axis=0, dtype=np.float64),
                np.array(present, np.float64),
            )
        )
        self._known_ms = _newest(self._known_ms, known)
        # Each kind of feedback has an event time of its own.
        self._passed_ms = _newest(self._passed_ms, known[is_timeout(samples.kinds)[part] & here[:, 0]])
        chunk = Chunk(encoded, labels, samples.log_rates[part], np.array(result.losses), np.array(result.predictions))
        self._chunks.append(chunk.last(self._most))
        self._kept += min(len(labels), self._most)
        while self._kept - len(self._chunks[0].labels) >= self._most:
            self._kept -= len(self._chunks.popleft().labels)

    def take(self) -> tuple[tuple[Chunk, ...], Seen, int | None, int | None]:
        """Since the last call: the newest samples, what all showed, ``known_ms`` and ``passed_ms`` of the evidence."""
        taken = tuple(self._chunks), self._seen, self._known_ms, self._passed_ms
        self._chunks.clear()
        self._kept = 0
        self._seen = Seen.nothing(self._labels, len(self._columns))
        self._known_ms = self._passed_ms = None
        return taken


def _newest(before: int | None, times: npt.NDArray[np.int64]) -> int | None:
    if not len(times):
        return before
    newest = int(times.max())
    return newest if before is None else max(before, newest)


def _present(column: Any) -> int:
    """How many entries say something: no nulls, no empty lists."""
    if pa.types.is_list(column.type):
        return int(pc.sum(pc.greater(pc.list_value_length(column), 0)).as_py() or 0)
    return len(column) - int(column.null_count)
