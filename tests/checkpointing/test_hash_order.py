"""Rows come into hash order whatever their hashes share."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from checkpointing.hash_order import ascending, mix64


@given(arrays(np.uint64, st.integers(0, 40), elements=st.integers(0, 2**64 - 1) | st.integers(0, 9)))
def test_any_hashes_are_sorted(hashes: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> None:
    np.testing.assert_array_equal(hashes[ascending(hashes)], np.sort(hashes))
    np.testing.assert_array_equal(np.sort(ascending(hashes)), np.arange(len(hashes)))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000, 100_000])
def test_many_keys_are_sorted(count: int) -> None:
    hashes = mix64(np.random.default_rng(count).permutation(count).astype(np.int64))
    np.testing.assert_array_equal(ascending(hashes), np.argsort(hashes))
