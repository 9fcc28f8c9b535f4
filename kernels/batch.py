"""One batch after encoding: ids and numbers as arrays; must not know where they came from nor what reads them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


def _nothing_unscaled() -> NDArray[np.float64]:
    return np.empty((0, 0), np.float64)


@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """Features of ``rows`` samples.

    Attributes:
        rows: Number of samples.
        ids: Per id feature int64 [occurrences], in sample order; for ``TableReader`` a single one may stand for all.
        splits: Per id feature int32 [rows + 1]: sample r has ids [splits[r], splits[r + 1]); None = exactly one each.
        numbers: float32 [rows, n], 0 where a value is missing and where it still waits for standard scaling.
        unscaled: float64 [rows, s], raw values of the features with standard scaling, NaN where missing;
            ``RunningStatistics.scale`` turns them into their columns of ``numbers``.
        weights: Per id feature float32 [occurrences], what each id counts, or None: 1 each; empty: no feature has any.
        not_finite: Per number feature, how many values were NaN or infinite and count as missing.
    """

    rows: int
    ids: tuple[NDArray[np.int64], ...]
    splits: tuple[NDArray[np.int32] | None, ...]
    numbers: NDArray[np.float32]
    unscaled: NDArray[np.float64] = field(default_factory=_nothing_unscaled)
    not_finite: tuple[int, ...] = ()
    weights: tuple[NDArray[np.float32] | None, ...] = ()

    def part(self, begin: int, end: int) -> EncodedBatch:
        """Samples ``begin`` to ``end``, exclusive; ``not_finite`` counts the whole batch and is left out."""
        ids: list[NDArray[np.int64]] = []
        splits: list[NDArray[np.int32] | None] = []
        weights: list[NDArray[np.float32] | None] = []
        for position, (column, split) in enumerate(zip(self.ids, self.splits, strict=True)):
            places = slice(begin, end) if split is None else slice(int(split[begin]), int(split[end]))
            ids.append(column[places])
            splits.append(None if split is None else split[begin : end + 1] - split[begin])
            of_ids = self.weights[position] if self.weights else None
            weights.append(None if of_ids is None else of_ids[places])
        return EncodedBatch(
            end - begin,
            tuple(ids),
            tuple(splits),
            self.numbers[begin:end],
            self.unscaled[begin:end],
            weights=tuple(weights) if self.weights else (),
        )
