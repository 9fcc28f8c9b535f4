"""Adds up the progressive metrics of versions into exact figures; knows the manifest's `metrics` and numpy only."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

# A prediction p falls into bin floor(p * BINS), 1 into the last: fine enough that an AUC is off by less than 0.001.
BINS = 1000

Histogram = npt.NDArray[np.int64]


def bins(predictions: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    """The histogram bin of each prediction; what is not a number falls into bin 0."""
    finite = np.nan_to_num(predictions.astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip((finite * BINS).astype(np.int64), 0, BINS - 1)


@dataclass
class Quality:
    """Sums over samples that were predicted before they were learned.

    Args:
        samples: How many.
        positives: How many of them with label 1.
        log_loss_sum: Sum of their log losses, nats.
        prediction_sum: Sum of their predictions.
        positive_histogram: ``[BINS]`` int64, the positives' predictions.
        negative_histogram: ``[BINS]`` int64, the negatives' predictions.
    """

    samples: int = 0
    positives: int = 0
    log_loss_sum: float = 0.0
    prediction_sum: float = 0.0
    positive_histogram: Histogram = field(default_factory=lambda: np.zeros(BINS, np.int64))
    negative_histogram: Histogram = field(default_factory=lambda: np.zeros(BINS, np.int64))

    @classmethod
    def from_json(cls, increment: Mapping[str, Any]) -> Quality:
        """Reads one bucket of a manifest's ``metrics``."""
        quality = cls(
            samples=int(increment["samples"]),
            positives=int(increment["positives"]),
            log_loss_sum=_number(increment["log_loss_sum"]),
            prediction_sum=_number(increment["prediction_sum"]),
        )
        for name in ("positive_histogram", "negative_histogram"):
            sparse = increment[name]
            places = np.fromiter(map(int, sparse), np.int64, len(sparse))
            np.add.at(getattr(quality, name), places, np.fromiter(map(int, sparse.values()), np.int64, len(sparse)))
        return quality

    def to_json(self) -> dict[str, Any]:
        """One bucket of a manifest's ``metrics``; the inverse of :meth:`from_json`."""
        return {
            "samples": self.samples,
            "positives": self.positives,
            "log_loss_sum": self.log_loss_sum,
            "prediction_sum": self.prediction_sum,
            "positive_histogram": _sparse(self.positive_histogram),
            "negative_histogram": _sparse(self.negative_histogram),
        }

    def add(self, other: Quality) -> None:
        """Adds ``other`` to this one, in place."""
        self.samples += other.samples
        self.positives += other.positives
        self.log_loss_sum += other.log_loss_sum
        self.prediction_sum += other.prediction_sum
        self.positive_histogram += other.positive_histogram
        self.negative_histogram += other.negative_histogram

    @property
    def log_loss(self) -> float | None:
        """Mean log loss, nats; None without samples."""
        return self.log_loss_sum / self.samples if self.samples else None

    @property
    def auc(self) -> float | None:
        """Area under the ROC curve, ties (one bin) counted half; None without both labels."""
        positives, negatives = int(self.positive_histogram.sum()), int(self.negative_histogram.sum())
        if not positives or not negatives:
            return None
        below = np.cumsum(self.negative_histogram) - self.negative_histogram
        wins = float(np.dot(self.positive_histogram, below + 0.5 * self.negative_histogram))
        return wins / (positives * negatives)

    @property
    def normalized_entropy(self) -> float | None:
        """Log loss over the entropy of the label's mean rate (He et al., ADKDD 2014); below 1, something is known.

        None without both labels.
        """
        if not 0 < self.positives < self.samples:
            return None
        rate = self.positives / self.samples
        entropy = -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
        return self.log_loss_sum / self.samples / entropy

    @property
    def calibration(self) -> float | None:
        """Sum of predictions over sum of labels; 1 is right. None without positives."""
        return self.prediction_sum / self.positives if self.positives else None


def add_up(increments: Iterable[Mapping[str, Any]], *, from_ms: int | None = None, to_ms: int | None = None) -> Quality:
    """Adds up the ``metrics`` of any range of versions.

    Args:
        increments: The ``metrics`` of each manifest: bucket start in ms, as a string, to the bucket's sums.
        from_ms: The first event-time bucket that counts; None counts from the beginning.
        to_ms: The first event-time bucket that no longer counts; None counts to the end.
    """
    total = Quality()
    for metrics in increments:
        for start, bucket in metrics.items():
            if (from_ms is None or int(start) >= from_ms) and (to_ms is None or int(start) < to_ms):
                total.add(Quality.from_json(bucket))
    return total


def by_bucket(increments: Iterable[Mapping[str, Any]]) -> dict[int, Quality]:
    """The same sums by event-time bucket, start in ms, oldest first."""
    buckets: dict[int, Quality] = {}
    for metrics in increments:
        for start, bucket in metrics.items():
            buckets.setdefault(int(start), Quality()).add(Quality.from_json(bucket))
    return dict(sorted(buckets.items()))


def _sparse(histogram: Histogram) -> dict[str, int]:
    places = np.flatnonzero(histogram)
    return dict(zip(map(str, places.tolist()), histogram[places].tolist(), strict=True))


def _number(value: float | None) -> float:
    # JSON knows no NaN and no infinity; a sum that was one of them is null there.
    return math.nan if value is None else float(value)
