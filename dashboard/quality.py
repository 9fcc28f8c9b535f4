"""Adds up progressive quality by impression time and keeps it; must not know how a sample is predicted."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from checkpointing.manifest import Manifest
from checkpointing.quality import Quality
from dashboard.history import History
from dashboard.past import COARSE
from dashboard.versions import quality_sums

# Buckets stay as fine as the learner made them for so long; then they are folded into buckets of five minutes.
FINE_KEPT_MS: Final = 2 * 60 * 60 * 1000
_FINE = 0  # the span under which fine buckets are stored: theirs is the learner's choice
_THROUGH = "quality_through"


@dataclass(frozen=True, slots=True)
class Point:
    """The quality of the samples whose impressions fall into one bucket of time.

    Args:
        t: Start of the bucket, milliseconds.
        samples: How many samples.
        auc: Area under the ROC curve; None without both labels.
        log_loss: Mean log loss, nats.
        calibration: Sum of predictions over sum of labels; None without positives.
        normalized_entropy: Log loss over the entropy of the mean rate; None without both labels.
        closed: Whether every verdict of the bucket is in: positives come a window earlier than negatives, so the
            figures of an open bucket are biased.
    """

    t: int
    samples: int
    auc: float | None
    log_loss: float | None
    calibration: float | None
    normalized_entropy: float | None
    closed: bool


class QualityByTime:
    """Exact sums over every version, by impression time; survives a restart through the history file.

    Args:
        history: Where the sums are kept.
        bucket_ms: Length of the learner's buckets.
        window_ms: How long a verdict may take, in event time.
    """

    def __init__(self, history: History, *, bucket_ms: int, window_ms: int) -> None:
        self._history = history
        self._bucket_ms = bucket_ms
        self._window_ms = window_ms
        self._fine = {t: _unpacked(sums) for t, sums in history.quality(_FINE)}
        self._coarse = {t: _unpacked(sums) for t, sums in history.quality(COARSE)}
        self._fresh: set[int] = set()
        self._unsaved: set[int] = set()
        self._learned_through: int | None = None
        self._through = int(history.meta(_THROUGH) or 0)
        self.overall = Quality()
        for bucket in (*self._fine.values(), *self._coarse.values()):
            self.overall.add(bucket)

    @property
    def through(self) -> int:
        """The newest version whose increments are in the sums."""
        return self._through

    def add(
        self, manifests: Sequence[Manifest], sums_of: Callable[[Manifest], Mapping[int, Quality]] = quality_sums
    ) -> None:
        """Adds the increments of ``manifests``, which follow one another; those already in are left out.

        Args:
            manifests: The next ones.
            sums_of: Gives those of one, by bucket.
        """
        changed: set[int] = set()
        for manifest in manifests:
            if manifest.learned_through is not None:
                self._learned_through = manifest.learned_through
            if manifest.version <= self._through:
                continue
            self._through = manifest.version
            for start, increment in sums_of(manifest).items():
                changed.add(self._bucket(start, increment))
                self.overall.add(increment)
        self._fresh |= changed
        self._unsaved |= changed

    def points(self, from_ms: int = 0) -> list[Point]:
        """The quality of every bucket from ``from_ms`` on, oldest first; older ones are five minutes wide."""
        merged = {**self._coarse, **self._fine}
        return [self._point(t, merged[t]) for t in sorted(merged) if t >= from_ms]

    def changed(self, most: int) -> list[Point]:
        """The fine buckets that have changed since the last call, oldest first; of many only the newest ``most``."""
        fresh, self._fresh = sorted(t for t in self._fresh if t in self._fine), set()
        return [self._point(t, self._fine[t]) for t in fresh[-most:]]

    def last_closed(self) -> Point | None:
        """The newest bucket whose verdicts are all in."""
        closed = [t for t in self._fine if self._closed(t)]
        return self._point(max(closed), self._fine[max(closed)]) if closed else None

    def overall_point(self) -> Point:
        """Everything that is kept."""
        return self._point(0, self.overall)

    def _closed(self, t: int) -> bool:
        end = t + self._bucket_ms + self._window_ms
        return self._learned_through is not None and end <= self._learned_through

    def _point(self, t: int, q: Quality) -> Point:
        closed = t not in self._fine or self._closed(t)
        return Point(
            t, q.samples, _short(q.auc), _short(q.log_loss), _short(q.calibration), _short(q.normalized_entropy), closed
        )

    def _bucket(self, t: int, increment: Quality) -> int:
        """Adds one increment to its bucket; a bucket that was folded already takes it where it is now."""
        if t not in self._fine and self._fine and t < max(self._fine) - FINE_KEPT_MS:
            wide = t - t % COARSE
            self._coarse.setdefault(wide, Quality()).add(increment)
            return wide
        self._fine.setdefault(t, Quality()).add(increment)
        return t

    def save(self) -> None:
        """Writes what has changed, and how far it reaches; what is not written is read from the manifests again."""
        changed, self._unsaved = self._unsaved, set()
        if not changed:
            return
        newest = max(self._fine, default=0)
        old = [t for t in self._fine if t < newest - FINE_KEPT_MS]
        for t in old:
            wide = t - t % COARSE
            self._coarse.setdefault(wide, Quality()).add(self._fine.pop(t))
            changed.add(wide)
        rows = [(t, _FINE, _packed(self._fine[t])) for t in changed if t in self._fine]
        rows += [(t, COARSE, _packed(self._coarse[t])) for t in changed if t in self._coarse and t not in self._fine]
        self._history.put_quality(rows, drop=[(t, _FINE) for t in old], meta=(_THROUGH, str(self._through)))


def _packed(quality: Quality) -> bytes:
    return zlib.compress(orjson.dumps(quality.to_json()), 1)


def _unpacked(sums: bytes) -> Quality:
    document: dict[str, Any] = orjson.loads(zlib.decompress(sums))
    return Quality.from_json(document)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
