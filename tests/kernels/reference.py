"""Plain dict-and-numpy tables that the C++ ones must equal bit for bit; knows the formulas, not the engine."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.settings import ColumnSettings, InitializerSettings, OptimizerSettings, TableSettings

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
Floats = NDArray[np.float32]


def mix(x: int) -> int:
    """The finalizer of SplitMix64 on Python integers."""
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


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


def initial_row(settings: TableSettings, key: int) -> Floats:
    """The row that a fresh key begins with."""
    initializer: InitializerSettings = settings.initializer
    if initializer.kind == "constant":
        return np.full(settings.dim, initializer.scale, np.float32)
    stream = mix(mix((settings.seed + GOLDEN) & MASK) ^ xxh64(settings.name.encode()))
    start = mix(stream ^ mix((key + GOLDEN) & MASK))
    row = np.empty(settings.dim, np.float32)
    for i in range(settings.dim):
        unit = (mix((start + (i + 1) * GOLDEN) & MASK) >> 12) + 0.5
        if initializer.kind == "uniform":
            row[i] = initializer.scale * (unit * 2.0**-51 - 1.0)
        else:
            row[i] = initializer.scale * normal_quantile(unit * 2.0**-52)
    return row


def whole_power(base: float, exponent: int) -> float:
    """By repeated squaring, in the engine's order of operations."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def slot_width(settings: TableSettings) -> int:
    """Floats of optimizer state per row."""
    return settings.dim if settings.optimizer.kind == "adagrad" else 2 * settings.dim + 1


@dataclass
class Row:
    """One key's state."""

    values: Floats
    slots: Floats
    frequency: int = 0
    last_seen: int = 0


def update(row: Row, gradient: Floats, optimizer: OptimizerSettings) -> None:
    """One optimizer step in float32, in the engine's order of operations."""
    one = np.float32
    epsilon = one(optimizer.epsilon)
    if optimizer.kind == "adagrad":
        row.slots[:] = row.slots + gradient * gradient
        row.values[:] = row.values - one(optimizer.learning_rate) * gradient / (np.sqrt(row.slots) + epsilon)
        return
    dim = len(row.values)
    row.slots[-1] += one(1)
    t = int(row.slots[-1])
    first, second = row.slots[:dim], row.slots[dim : 2 * dim]
    first[:] = one(optimizer.beta1) * first + one(1 - optimizer.beta1) * gradient
    second[:] = one(optimizer.beta2) * second + one(1 - optimizer.beta2) * (gradient * gradient)
    step_size = one(optimizer.learning_rate / (1 - whole_power(optimizer.beta1, t)))
    second_scale = one(1 / (1 - whole_power(optimizer.beta2, t)))
    row.values[:] = row.values - step_size * first / (np.sqrt(second * second_scale) + epsilon)


def weight(combiner: str, n: int) -> np.float32:
    """What each of n ids counts."""
    if combiner == "mean":
        return np.float32(1) / np.float32(n)
    if combiner == "sqrtn":
        return np.float32(np.float32(1) / np.sqrt(np.float32(n)))
    return np.float32(1)


@dataclass
class ReferenceTables:
    """The same contract as EmbeddingTables, one dict per table."""

    tables: tuple[TableSettings, ...]
    columns: tuple[ColumnSettings, ...]
    stride: int
    rows: dict[str, dict[int, Row]] = field(init=False)
    touched: dict[str, set[int]] = field(init=False)
    erased: dict[str, set[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.settings = {table.name: table for table in self.tables}
        self.rows = {table.name: {} for table in self.tables}
        self.touched = {table.name: set() for table in self.tables}
        self.erased = {table.name: set() for table in self.tables}

    def fresh(self, table: str, key: int) -> Row:
        """The initial row with its initial slots."""
        settings = self.settings[table]
        start = settings.optimizer.initial_accumulator if settings.optimizer.kind == "adagrad" else 0.0
        return Row(initial_row(settings, key), np.full(slot_width(settings), start, np.float32))

    def of_sample(self, batch: EncodedBatch, column: int, sample: int) -> list[int]:
        """The ids of one sample."""
        splits = batch.splits[column]
        if splits is None:
            return [int(batch.ids[column][sample])]
        return [int(key) for key in batch.ids[column][splits[sample] : splits[sample + 1]]]

    def lookup(self, batch: EncodedBatch, create: bool = True) -> Floats:
        """The buffer's rows."""
        out = np.zeros((batch.rows, self.stride), np.float32)
        at = 0
        for position, column in enumerate(self.columns):
            dim = self.settings[column.table].dim
            for sample in range(batch.rows):
                keys = self.of_sample(batch, position, sample)
                total = np.zeros(dim, np.float32)
                for key in keys:
                    row = self.rows[column.table].get(key) or self.fresh(column.table, key)
                    if create:
                        self.rows[column.table].setdefault(key, row)
                    total += row.values
                if len(keys) > 1:
                    total *= weight(column.combiner, len(keys))
                out[sample, at : at + dim] = total
            at += dim
        out[:, at : at + batch.numbers.shape[1]] = batch.numbers
        return out

    def apply(self, batch: EncodedBatch, gradient: Floats, event_ms: int) -> None:
        """Sums per key in column, then batch order; one update per key."""
        sums: dict[str, dict[int, Floats]] = {table.name: {} for table in self.tables}
        counts: dict[str, dict[int, int]] = {table.name: {} for table in self.tables}
        at = 0
        for position, column in enumerate(self.columns):
            dim = self.settings[column.table].dim
            for sample in range(batch.rows):
                keys = self.of_sample(batch, position, sample)
                for key in keys:
                    share = gradient[sample, at : at + dim] * weight(column.combiner, len(keys))
                    of_table = sums[column.table]
                    of_table[key] = of_table.get(key, np.zeros(dim, np.float32)) + share
                    counts[column.table][key] = counts[column.table].get(key, 0) + 1
            at += dim
        for name, of_table in sums.items():
            for key, total in of_table.items():
                row = self.rows[name][key]
                update(row, total, self.settings[name].optimizer)
                row.frequency += counts[name][key]
                row.last_seen = max(row.last_seen, event_ms)
                self.touched[name].add(key)

    def erase(self, table: str, keys: list[int]) -> None:
        """Deletes keys; those present are tombstones until they come back."""
        for key in keys:
            if self.rows[table].pop(key, None) is not None:
                self.erased[table].add(key)
                self.touched[table].discard(key)

    def changes(self, table: str) -> tuple[set[int], set[int]]:
        """Keys of the rows and of the tombstones that a capture must hold; forgets them."""
        gone = {key for key in self.erased[table] if key not in self.rows[table]}
        changed = (self.touched[table] | self.erased[table]) & set(self.rows[table])
        self.touched[table] = set()
        self.erased[table] = set()
        return changed, gone
