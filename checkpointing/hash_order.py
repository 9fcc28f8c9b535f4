"""The order in which rows stand in a pack, and their tags; knows keys alone, no file and no table."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
TAG_MASK = np.uint64(0x7F)
TOMBSTONE = np.uint8(0x80)


def mix64(keys: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A bijective mix of 64 bits, FORMAT.md 3.2; works in place on one copy of ``keys`` [n]."""
    mixed = keys.astype(np.uint64)  # a copy, modulo 2^64
    for _ in range(2):
        mixed ^= mixed >> _HALF
        mixed *= _MULTIPLIER
    mixed ^= mixed >> _HALF
    return mixed


def ascending(hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
    """The order [n] that makes ``hashes`` [n] ascend; of equal ones any.

    NumPy sorts numbers four times faster than it sorts places, so each place travels in the lowest bits of its hash.
    """
    bits = np.uint64(max(len(hashes) - 1, 1).bit_length())
    carried = (hashes >> bits << bits) | np.arange(len(hashes), dtype=np.uint64)
    carried.sort()
    order = (carried & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.intp)
    ordered = hashes[order]
    if (ordered[1:] < ordered[:-1]).any():  # a few that differ in the lowest bits alone
        order = order[np.argsort(ordered, kind="stable")]
    return order


def tags(hashes: NDArray[np.uint64], *, tombstones: bool) -> NDArray[np.uint8]:
    """One byte a key: the low seven bits of its hash, and the tombstone bit."""
    low = (hashes & TAG_MASK).astype(np.uint8)
    return low | TOMBSTONE if tombstones else low


def strictly_ascending(hashes: NDArray[np.uint64]) -> bool:
    """Whether ``hashes`` [n] are in order without a repeat."""
    return bool((hashes[1:] > hashes[:-1]).all())


def is_member(hashes: NDArray[np.uint64], of: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of ``hashes`` [n] occur in the ascending ``of`` [m]; both are hashes of keys, hence unique to a key."""
    if len(of) == 0:
        return np.zeros(len(hashes), dtype=np.bool_)
    at = np.searchsorted(of, hashes)
    at[at == len(of)] = 0
    found: NDArray[np.bool_] = of[at] == hashes
    return found
