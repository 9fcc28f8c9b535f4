"""Plain dict-and-numpy tables that the C++ ones must equal bit for bit; knows the formulas, not the engine."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.settings import ColumnSettings, TableSettings
from tests.kernels.reference_lifecycle import NEVER
from tests.kernels.reference_shapes import reference_space

Floats = NDArray[np.float32]


def weight(combiner: str, weights: Floats | None, n: int) -> np.float32:
    """What the sum over a sample's n ids is multiplied by."""
    one = np.float32(1)
    if combiner == "sum":
        return one
    if weights is None:
        return one / (np.float32(n) if combiner == "mean" else np.sqrt(np.float32(n)))
    total = np.float32(0)
    for each in weights:
        total += each if combiner == "mean" else each * each
    if total == 0:
        return np.float32(0)
    return one / (total if combiner == "mean" else np.sqrt(total))


@dataclass
class ReferenceTables:
    """The same contract as EmbeddingTables, one dict per table."""

    tables: tuple[TableSettings, ...]
    columns: tuple[ColumnSettings, ...]
    stride: int
    step: int = 0
    clock: int = NEVER

    def __post_init__(self) -> None:
        self.spaces = {table.name: reference_space(table) for table in self.tables}
        # By the names under which rows pass in and out.
        self.of = {table.settings.name: table for space in self.spaces.values() for table in space.tables}

    def of_sample(self, batch: EncodedBatch, column: int, sample: int) -> tuple[list[int], Floats | None]:
        """The ids of one sample that count, and their weights."""
        splits = batch.splits[column]
        if splits is None:
            return [int(batch.ids[column][sample])], None
        begin, end = int(splits[sample]), int(splits[sample + 1])
        asked = self.columns[column]
        if asked.combiner == "none":
            if asked.keep == "first":
                end = min(end, begin + asked.length)
            else:
                begin = max(begin, end - asked.length)
        part = slice(begin, end)
        weights = batch.weights[column] if batch.weights else None
        return [int(key) for key in batch.ids[column][part]], None if weights is None else weights[part]

    def occurrences(self, batch: EncodedBatch) -> dict[str, dict[int, int]]:
        """How often each key of each table is in the batch."""
        counts: dict[str, dict[int, int]] = {name: {} for name in self.spaces}
        for position, column in enumerate(self.columns):
            of_table = counts[column.table]
            for sample in range(batch.rows):
                for key in self.of_sample(batch, position, sample)[0]:
                    of_table[key] = of_table.get(key, 0) + 1
        return counts

    def width(self, column: ColumnSettings) -> int:
        """Floats of a column's block."""
        dim = self.spaces[column.table].settings.dim
        return dim if column.combiner != "none" else column.length * dim + 1

    def side_by_side(self, column: ColumnSettings, rows: list[Floats]) -> Floats:
        """A sample's rows without pooling, zeros behind them, then their number."""
        block = np.zeros(self.width(column), np.float32)
        for position, row in enumerate(rows):
            block[position * len(row) : (position + 1) * len(row)] = row
        block[-1] = len(rows)
        return block

    def lookup(self, batch: EncodedBatch) -> Floats:
        """The buffer's rows."""
        out = np.zeros((batch.rows, self.stride), np.float32)
        counts = self.occurrences(batch)
        read = {name: space.read(counts[name], self.step, self.clock) for name, space in self.spaces.items()}
        at = 0
        for position, column in enumerate(self.columns):
            dim = self.spaces[column.table].settings.dim
            for sample in range(batch.rows):
                keys, weights = self.of_sample(batch, position, sample)
                rows = [read[column.table][key] for key in keys]
                if weights is not None:
                    rows = [by * row for by, row in zip(weights, rows, strict=True)]
                if column.combiner == "none":
                    out[sample, at : at + self.width(column)] = self.side_by_side(column, rows)
                    continue
                total = np.zeros(dim, np.float32)
                for row in rows:
                    total += row
                if weights is not None or len(keys) > 1:
                    total *= weight(column.combiner, weights, len(keys))
                out[sample, at : at + dim] = total
            at += self.width(column)
        out[:, at : at + batch.numbers.shape[1]] = batch.numbers
        return out

    def apply(self, batch: EncodedBatch, gradient: Floats, event_ms: int) -> None:
        """Sums per key in column, then batch order; one step per table."""
        sums: dict[str, dict[int, Floats]] = {name: {} for name in self.spaces}
        counts = self.occurrences(batch)
        at = 0
        for position, column in enumerate(self.columns):
            dim = self.spaces[column.table].settings.dim
            of_table = sums[column.table]
            for sample in range(batch.rows):
                keys, weights = self.of_sample(batch, position, sample)
                alone = column.combiner == "none"
                by = np.float32(1) if alone or not keys else weight(column.combiner, weights, len(keys))
                for i, key in enumerate(keys):
                    begin = at + i * dim if alone else at
                    share = gradient[sample, begin : begin + dim] * (by if weights is None else by * weights[i])
                    of_table[key] = of_table.get(key, np.zeros(dim, np.float32)) + share
            at += self.width(column)
        for name, of_table in sums.items():
            self.spaces[name].apply(of_table, counts[name], self.step, self.clock, event_ms)
        self.step += 1
        self.clock = max(self.clock, event_ms)
