"""Crosses of columns of keys: every combination in a sample becomes one key; must not know Arrow nor features."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Keys = tuple[NDArray[np.int64], NDArray[np.int32] | None]

# Lists of a hundred values, crossed, would be ten thousand rows of one sample: the first of them are enough.
MOST_COMBINATIONS: Final = 1024

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


def cross(columns: Sequence[Keys]) -> Keys:
    """The keys of a cross (kernels/HASHING.md), in the order of the first column's values, then the second's.

    Args:
        columns: Per part its keys int64 [occurrences] and splits int32 [rows + 1], or None: exactly one in each row.

    Returns:
        The same form; a row in which a part has no key has none, and none has more than :data:`MOST_COMBINATIONS`.
    """
    keys, splits = columns[0]
    crossed = _fold(np.zeros(len(keys), np.uint64), keys)
    for more, of_more in columns[1:]:
        if splits is None and of_more is None:
            crossed = _fold(crossed, more)
            continue
        left, right, splits = _combinations(_splits(crossed, splits), _splits(more, of_more))
        crossed = _fold(crossed[left], more[right])
    return crossed.view(np.int64), splits


def _fold(hashes: NDArray[np.uint64], keys: NDArray[np.int64]) -> NDArray[np.uint64]:
    return _mix((hashes + _GOLDEN) ^ _mix(keys.view(np.uint64) + _GOLDEN))


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    return x ^ (x >> np.uint64(31))


def _splits(keys: NDArray[np.generic], splits: NDArray[np.int32] | None) -> NDArray[np.int64]:
    return np.arange(len(keys) + 1) if splits is None else splits.astype(np.int64)


def _combinations(
    left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Which key of each side makes each combination, and the splits of the combinations."""
    of_right = np.diff(right)
    counts = np.minimum(np.diff(left) * of_right, MOST_COMBINATIONS)
    splits = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=splits[1:])
    within = np.arange(splits[-1]) - np.repeat(splits[:-1], counts)
    width = np.repeat(of_right, counts)
    chosen_left = np.repeat(left[:-1], counts) + within // np.maximum(width, 1)
    chosen_right = np.repeat(right[:-1], counts) + within % np.maximum(width, 1)
    return chosen_left, chosen_right, splits.astype(np.int32)
