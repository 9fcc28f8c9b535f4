"""Small rows keep to their stated error bounds, whatever the row."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from checkpointing.precision import from_bfloat16, from_int8, to_bfloat16, to_int8

Rows = NDArray[np.float32]
floats = st.one_of(st.just(0.0), st.floats(2.0**-99, 2.0**120, width=32), st.floats(-(2.0**120), -(2.0**-99), width=32))
rows = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=floats)


@given(rows)
def test_bfloat16_is_within_its_bound(values: Rows) -> None:
    back = from_bfloat16(to_bfloat16(values))
    assert (np.abs(back.astype(np.float64) - values) <= np.abs(values.astype(np.float64)) / 256).all()


@given(rows)
def test_int8_is_within_its_bound(values: Rows) -> None:
    back = from_int8(*to_int8(values))
    largest = np.abs(values.astype(np.float64)).max(axis=1, keepdims=True)
    assert (np.abs(back.astype(np.float64) - values) <= largest / 250).all()


def test_what_is_no_number_stays_none() -> None:
    wrong = np.array([[np.nan, 1], [np.inf, 1], [2, 1]], np.float32)
    assert np.isnan(from_int8(*to_int8(wrong))[:2]).all() and np.isfinite(from_int8(*to_int8(wrong))[2]).all()
    back = from_bfloat16(to_bfloat16(wrong))
    assert np.isnan(back[0, 0]) and np.isinf(back[1, 0]) and back[2, 0] == 2


def test_bfloat16_rounds_to_even() -> None:
    ties = np.array([[1 + 2.0**-8, 1 + 3 * 2.0**-8]], np.float32)
    assert from_bfloat16(to_bfloat16(ties)).tolist() == [[1.0, 1 + 2.0**-6]]
