"""Hashes, initial rows and 16-bit rounding as kernels/HASHING.md tells them, on Python integers; knows no table."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernels.settings import TableSettings

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
Floats = NDArray[np.float32]
BELOW_TWO = 0.022750131948179195


def mix(x: int) -> int:
    """The finalizer of SplitMix64 on Python integers."""
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def signed(bits: int) -> int:
    """64 bits read as a signed integer."""
    return bits - 2**64 if bits >> 63 else bits


def cross(keys: Sequence[int]) -> int:
    """The key of one combination of parts."""
    hashed = 0
    for key in keys:
        hashed = mix((hashed + GOLDEN & MASK) ^ mix((key & MASK) + GOLDEN & MASK))
    return signed(hashed)


def xxh64(data: bytes, seed: int = 0) -> int:
    """XXH64 as its specification tells it, on Python integers."""
    p1, p2, p3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
    p4, p5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5

    def rotate(x: int, by: int) -> int:
        return (x << by | x >> 64 - by) & MASK

    def rounded(lane: int, word: int) -> int:
        return rotate((lane + word * p2) & MASK, 31) * p1 & MASK

    def word(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little")

    at = 0
    if len(data) >= 32:
        lanes = [(seed + p1 + p2) & MASK, (seed + p2) & MASK, seed, (seed - p1) & MASK]
        while len(data) - at >= 32:
            lanes = [rounded(lane, word(at + 8 * i, 8)) for i, lane in enumerate(lanes)]
            at += 32
        accumulated = sum(rotate(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & MASK
        for lane in lanes:
            accumulated = ((accumulated ^ rounded(0, lane)) * p1 + p4) & MASK
    else:
        accumulated = (seed + p5) & MASK
    accumulated = (accumulated + len(data)) & MASK
    while len(data) - at >= 8:
        accumulated = (rotate(accumulated ^ rounded(0, word(at, 8)), 27) * p1 + p4) & MASK
        at += 8
    if len(data) - at >= 4:
        accumulated = (rotate(accumulated ^ word(at, 4) * p1 & MASK, 23) * p2 + p3) & MASK
        at += 4
    for byte in data[at:]:
        accumulated = rotate(accumulated ^ byte * p5 & MASK, 11) * p1 & MASK
    accumulated = (accumulated ^ accumulated >> 33) * p2 & MASK
    accumulated = (accumulated ^ accumulated >> 29) * p3 & MASK
    return accumulated ^ accumulated >> 32


def natural_log(x: float) -> float:
    """By 2 artanh((m - 1) / (m + 1)) + e ln 2, in the engine's order of operations."""
    mantissa, exponent = math.frexp(x)
    if mantissa < 0.70710678118654752:
        mantissa *= 2
        exponent -= 1
    s = (mantissa - 1) / (mantissa + 1)
    series = 0.0
    for k in range(10, -1, -1):
        series = series * (s * s) + 1.0 / (2 * k + 1)
    return 2 * s * series + exponent * 0.69314718055994531


def normal_quantile(probability: float) -> float:
    """Wichura, AS 241, PPND7."""
    q = probability - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return (
            q
            * (((5.9109374720e01 * r + 1.5929113202e02) * r + 5.0434271938e01) * r + 3.3871327179e00)
            / (((6.7187563600e01 * r + 7.8757757664e01) * r + 1.7895169469e01) * r + 1.0)
        )
    r = math.sqrt(-natural_log(probability if q < 0 else 1 - probability))
    if r <= 5:
        r -= 1.6
        value = (((1.7023821103e-01 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) / (
            (1.2021132975e-01 * r + 7.3700164250e-01) * r + 1.0
        )
    else:
        r -= 5
        value = (((1.7337203997e-02 * r + 4.2868294337e-01) * r + 3.0812263860) * r + 6.6579051150) / (
            (1.2258202635e-02 * r + 2.4197894225e-01) * r + 1.0
        )
    return -value if q < 0 else value


def stream_of(settings: TableSettings) -> int:
    """What seed and name decide."""
    return mix(mix((settings.seed + GOLDEN) & MASK) ^ xxh64(settings.name.encode()))


def initial_row(settings: TableSettings, key: int) -> Floats:
    """The row that a fresh key begins with."""
    initializer = settings.initializer
    if initializer.kind == "constant":
        return np.full(settings.dim, initializer.scale, np.float32)
    start = mix(stream_of(settings) ^ mix((key + GOLDEN) & MASK))
    row = np.empty(settings.dim, np.float32)
    for i in range(settings.dim):
        unit = (mix((start + (i + 1) * GOLDEN) & MASK) >> 12) + 0.5
        if initializer.kind == "truncated_normal":
            row[i] = initializer.scale * normal_quantile(BELOW_TWO + (1 - 2 * BELOW_TWO) * (unit * 2.0**-52))
        elif initializer.kind == "uniform":
            row[i] = initializer.scale * (unit * 2.0**-51 - 1.0)
        else:
            row[i] = initializer.scale * normal_quantile(unit * 2.0**-52)
    return row


def _bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def _float(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def round_half(value: float, precision: str, chance: int | None) -> float:
    """A finite float32 as the nearest value of the precision (even on ties), or up or down by 32 bits of chance."""
    bits = _bits(value)
    sign, magnitude = bits & 0x80000000, bits & 0x7FFFFFFF
    if precision == "bfloat16":
        extra = 0x7FFF + (bits >> 16 & 1) if chance is None else chance >> 16
        return _float(sign | min((magnitude + extra) >> 16, 0x7F7F) << 16)
    # Multiples of 2^-24 below 2^-14, eleven bits of mantissa above.
    exponent = max((magnitude >> 23) - 127, -14)
    dropped = 13 if (magnitude >> 23) - 127 >= -14 else 13 + (-14 - ((magnitude >> 23) - 127))
    if dropped > 40:
        return -0.0 if sign else 0.0
    mantissa = (magnitude & 0x7FFFFF) | (0x800000 if magnitude >= 0x800000 else 0)
    if chance is None:
        extra = (1 << dropped - 1) - 1 + (mantissa >> dropped & 1)
    else:
        extra = chance >> 32 - dropped if dropped <= 32 else chance << dropped - 32
    result = min(math.ldexp(mantissa + extra >> dropped, exponent - 10), 65504.0)
    return -result if sign else result


def nearest(values: Floats, precision: str) -> Floats:
    """Rounded to nearest."""
    if precision == "float32":
        return values.copy()
    return np.array([round_half(float(value), precision, None) for value in values], np.float32)


def by_chance(values: Floats, settings: TableSettings, key: int, row_step: int) -> Floats:
    """Rounded by the draws of one update of one row."""
    if settings.precision == "float32":
        return values.copy()
    stream = stream_of(settings) ^ 0x726F756E64696E67
    start = mix((mix(stream ^ mix((key + GOLDEN) & MASK)) + (row_step + 1) * GOLDEN) & MASK)
    out = np.empty_like(values)
    for i, value in enumerate(values):
        drawn = mix((start + (i // 2 + 1) * GOLDEN) & MASK)
        out[i] = round_half(float(value), settings.precision, drawn >> 32 if i % 2 == 0 else drawn & 0xFFFFFFFF)
    return out
