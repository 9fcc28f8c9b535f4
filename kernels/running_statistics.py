"""Running mean and deviation of the numbers with standard scaling; must not know where batches come from."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.feature_settings import Feature, NumberFeature

COUNTS = "standard_counts"
MEANS = "standard_means"
SQUARES = "standard_squares"


class RunningStatistics:
    """Count, mean and sum of squared deviations per feature, float64, merged batch by batch (Chan et al., 1979).

    The same batches in the same order give the same state, bit for bit. Missing values count for nothing. A feature
    whose values were all equal so far, or that has fewer than two, scales to 0: nothing is known about its spread.

    Args:
        features: All features of the model, in order; those without standard scaling are left alone.
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        numbers = [feature for feature in features if isinstance(feature, NumberFeature)]
        self.names = tuple(feature.name for feature in numbers if feature.scaling == "standard")
        self._columns = [position for position, feature in enumerate(numbers) if feature.scaling == "standard"]
        self._counts = np.zeros(len(self.names), np.int64)
        self._means = np.zeros(len(self.names), np.float64)
        self._squares = np.zeros(len(self.names), np.float64)

    def update(self, batch: EncodedBatch) -> None:
        """Merges the batch's raw values in.

        Raises:
            ValueError: The batch was encoded for other features.
        """
        self._check(batch)
        for position in range(len(self.names)):
            values = batch.unscaled[:, position]
            values = values[~np.isnan(values)]
            if not len(values):
                continue
            mean = values.mean()
            squares = np.square(values - mean).sum()
            before = self._counts[position]
            total = before + len(values)
            shift = mean - self._means[position]
            self._means[position] += shift * len(values) / total
            self._squares[position] += squares + shift * shift * before * len(values) / total
            self._counts[position] = total

    def scale(self, batch: EncodedBatch) -> EncodedBatch:
        """The batch with its waiting numbers filled in by the state of now; a missing value is 0 after scaling.

        Raises:
            ValueError: The batch was encoded for other features.
        """
        self._check(batch)
        if not self.names:
            return batch
        deviations = np.sqrt(self._squares / np.maximum(self._counts, 1))
        known = deviations > 0
        scaled = (batch.unscaled - self._means) / np.where(known, deviations, 1.0) * known
        largest = float(np.finfo(np.float32).max)
        numbers = batch.numbers.copy()
        numbers[:, self._columns] = np.clip(np.nan_to_num(scaled, nan=0.0), -largest, largest)
        return dataclasses.replace(batch, numbers=numbers, unscaled=np.empty((batch.rows, 0), np.float64))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Copies of the state: counts int64 [s], means float64 [s], sums of squared deviations float64 [s]."""
        return {COUNTS: self._counts.copy(), MEANS: self._means.copy(), SQUARES: self._squares.copy()}

    @classmethod
    def from_state(cls, features: Iterable[Feature], state: Mapping[str, NDArray[np.generic]]) -> Self:
        """Statistics that go on where ``state`` was taken.

        Raises:
            KeyError: A part of the state is missing.
            ValueError: The state is of other features.
        """
        statistics = cls(features)
        parts = {COUNTS: statistics._counts, MEANS: statistics._means, SQUARES: statistics._squares}
        for name, part in parts.items():
            if name not in state:
                raise KeyError(f"statistics lack {name!r}; wanted {', '.join(parts)}")
            if state[name].shape != part.shape:
                raise ValueError(
                    f"statistics {name!r} have shape {state[name].shape}; wanted {part.shape} "
                    f"for the features with standard scaling: {', '.join(statistics.names) or 'none'}"
                )
            part[:] = state[name]
        return statistics

    def _check(self, batch: EncodedBatch) -> None:
        wanted = (batch.rows, len(self.names))
        if self.names and batch.unscaled.shape != wanted:
            raise ValueError(
                f"the batch's unscaled values have shape {batch.unscaled.shape}; wanted {wanted}: "
                "was it scaled already, or encoded for other features?"
            )
