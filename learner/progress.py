"""Scores predictions made before learning, by event-time bucket; must not know the model or who reads the figures."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from checkpointing.quality import Quality, bins


class ProgressiveMetrics:
    """The sums since the last capture, for the manifest.

    Args:
        bucket_ms: Width of an event-time bucket.
    """

    def __init__(self, bucket_ms: int) -> None:
        self._bucket_ms = bucket_ms
        self._buckets: dict[int, Quality] = {}

    def record(
        self,
        predictions: npt.NDArray[np.float32],
        losses: npt.NDArray[np.float32],
        labels: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float32],
        impression_ms: npt.NDArray[np.int64],
    ) -> None:
        """Counts one batch; samples without a label or of weight 0 (probes) say nothing about quality.

        Args:
            predictions: ``[B]``, made before the batch was learned.
            losses: ``[B]``, log loss in nats.
            labels: ``[B]``, 0 or 1, NaN where null.
            weights: ``[B]``.
            impression_ms: ``[B]``, event time of the impressions.
        """
        counted = ~np.isnan(labels) & (weights > 0)
        starts = impression_ms // self._bucket_ms * self._bucket_ms
        for start in np.unique(starts[counted]).tolist():
            inside = counted & (starts == start)
            positive = labels[inside] > 0.5
            places = bins(predictions[inside])
            quality = self._buckets.setdefault(start, Quality())
            quality.samples += int(inside.sum())
            quality.positives += int(positive.sum())
            quality.log_loss_sum += float(losses[inside].sum(dtype=np.float64))
            quality.prediction_sum += float(predictions[inside].sum(dtype=np.float64))
            np.add.at(quality.positive_histogram, places[positive], 1)
            np.add.at(quality.negative_histogram, places[~positive], 1)

    def take(self) -> dict[str, Any]:
        """The sums since the last call, in the manifest's form; what is taken is forgotten here."""
        taken, self._buckets = self._buckets, {}
        return {str(start): taken[start].to_json() for start in sorted(taken)}
