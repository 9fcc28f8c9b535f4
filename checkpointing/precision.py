"""Rows of floats in fewer bytes and back, with a bound on the error; knows arrays alone, no file and no table.

Stated bounds, for a finite value v of a row whose largest magnitude is m:

- ``bfloat16``: |v − v̂| ≤ |v| / 256, rounded to nearest, ties to even.
- ``int8``: |v − v̂| ≤ m / 250: 254 steps of one scale per row. The scale is a bfloat16, rounded up, so that the largest
  value still has a step; a row that holds a number that is none has the scale NaN and reads as NaN throughout.

Magnitudes below 1e-30 keep no bound.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Precision = Literal["float32", "bfloat16", "int8"]
STEPS: Final = np.float32(127)
_LARGEST_BFLOAT16: Final = np.uint32(0x7F7F)
_NAN_BFLOAT16: Final = np.uint16(0x7FC0)


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bits of ``values`` in bfloat16, the same shape; NaN stays NaN."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
    broken = np.isnan(values)
    if broken.any():
        rounded[broken] = _NAN_BFLOAT16
    return rounded


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The values of ``bits``, exactly."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def to_int8(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.uint16]]:
    """``values`` [n, dim] in steps of one scale per row.

    Returns:
        steps: int8 [n, dim], −127 to 127.
        scales: the bits of bfloat16 [n].
    """
    largest = np.abs(values).max(axis=1, initial=0.0)
    finite = np.isfinite(largest)
    exact = np.where(finite, largest, 0.0).astype(np.float32) / STEPS
    up = np.minimum((exact.view(np.uint32) + np.uint32(0xFFFF)) >> np.uint32(16), _LARGEST_BFLOAT16).astype(np.uint16)
    scale = from_bfloat16(up)
    divisor = np.where(scale > 0, scale, np.float32(1))[:, None]
    quotient = np.divide(np.where(finite[:, None], values, np.float32(0)), divisor, dtype=np.float32)
    steps = np.clip(np.rint(quotient), -STEPS, STEPS).astype(np.int8)
    up[~finite] = _NAN_BFLOAT16
    return steps, up


def from_int8(steps: NDArray[np.int8], scales: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The float32 [n, dim] that ``steps`` and ``scales`` stand for."""
    return np.multiply(steps, from_bfloat16(scales)[:, None], dtype=np.float32)
