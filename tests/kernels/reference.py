"""Plain dict-and-numpy tables that the C++ ones must equal bit for bit; knows the formulas, not the engine."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.settings import ColumnSettings, TableSettings
from tests.kernels import reference_rules as rules
from tests.kernels.reference_hash import by_chance, initial_row, nearest
from tests.kernels.reference_lifecycle import NEVER, Counts, Evictor, within

Floats = NDArray[np.float32]


@dataclass
class Row:
    """One key's state, as wide as its rung."""

    values: Floats
    slots: Floats
    frequency: int = 0
    last_seen: int = 0
    stamp: int = 0


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
class ReferenceTable:
    """One table."""

    settings: TableSettings
    rows: dict[int, Row] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    erased: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.counts = Counts(self.settings)
        self.evictor = Evictor(self.settings)

    def rung_dim(self, frequency: int) -> int:
        """How many coordinates a row of this frequency has."""
        return self.settings.dims[sum(frequency >= until for until in self.settings.thresholds)]

    def fresh(self, key: int) -> Row:
        """The row that a key begins with."""
        dim = self.settings.dims[0]
        values = nearest(initial_row(self.settings, key)[:dim], self.settings.precision)
        return Row(values, rules.initial_slots(self.settings.optimizer, values))

    def full(self, row: Row) -> tuple[Floats, Floats]:
        """Values and state as they stand outside the table."""
        dim, own = self.settings.dim, len(row.values)
        values = np.concatenate([row.values, np.zeros(dim - own, np.float32)])
        wide = rules.WIDE[self.settings.optimizer.kind]
        parts = [row.slots[i * own : (i + 1) * own] for i in range(wide)]
        padded = [np.concatenate([part, np.zeros(dim - own, np.float32)]) for part in parts]
        stamp = np.array([row.stamp] if self.settings.eviction.step_ttl else [], np.uint32).view(np.float32)
        return values, np.concatenate([*padded, row.slots[wide * own :], stamp]).astype(np.float32, copy=False)

    def read(self, key: int, occurrences: int, step: int, clock: int) -> Floats:
        """What a lookup answers."""
        row = self.rows.get(key)
        if row is None:
            if not self.counts.admits(key, occurrences, step, clock):
                return np.full(self.settings.dim, self.settings.admission.not_admitted, np.float32)
            row = self.fresh(key)
        return self.full(row)[0]

    def _grow(self, key: int, row: Row) -> None:
        own, to = len(row.values), self.rung_dim(row.frequency)
        if own == to:
            return
        optimizer = self.settings.optimizer
        tail = nearest(initial_row(self.settings, key)[own:to], self.settings.precision)
        wide = rules.WIDE[optimizer.kind]
        begin = rules.initial_slots(optimizer, np.concatenate([row.values, tail]))
        parts = [
            np.concatenate([row.slots[i * own : (i + 1) * own], begin[i * to + own : (i + 1) * to]])
            for i in range(wide)
        ]
        row.values = np.concatenate([row.values, tail])
        row.slots = np.concatenate([*parts, row.slots[wide * own :]])

    def apply(self, sums: dict[int, Floats], counts: dict[int, int], step: int, clock: int, event_ms: int) -> None:
        """One step: admit, create, count, update, grow, evict."""
        admitted = [key for key in sums if key not in self.rows and self.counts.admits(key, counts[key], step, clock)]
        refused = [key for key in sums if key not in self.rows and key not in admitted]
        plan = self.evictor.plan(set(self.rows), len(admitted))
        ttl = self.settings.eviction.time_ttl_ms
        swept = self.evictor.counts.slice(
            self.settings.eviction.rows_per_step, len(self.counts.keys) + len(self.counts.blocks) + len(refused)
        )
        for key in admitted:
            self.rows[key] = self.fresh(key)
            self.counts.keys.pop(key, None)
        for key in refused:
            self.counts.count(key, counts[key], max(clock, event_ms), event_ms)
        for key, gradient in sums.items():
            row = self.rows.get(key)
            if row is None:
                continue
            rules.update(row.values, row.slots, gradient[: len(row.values)], self.settings.optimizer, step)
            row.values = by_chance(row.values, self.settings, key, row.frequency)
            row.frequency += counts[key]
            row.last_seen = max(row.last_seen, event_ms)
            row.stamp = (step + 1) % 2**32
            self._grow(key, row)
            self.touched.add(key)
        now = max(clock, event_ms)
        victims = self.evictor.victims(set(self.rows), plan, lambda key: self._expired(key, step + 1, now), self._worth)
        for key in victims:
            self._remove(key)
        if ttl:
            for key in within(list(self.counts.keys), swept):
                if self.counts.keys[key][1] < max(now - ttl, NEVER):
                    del self.counts.keys[key]
            self.evictor.counts.passed(swept)

    def _expired(self, key: int, step: int, now: int) -> bool:
        asked, row = self.settings.eviction, self.rows[key]
        late = asked.time_ttl_ms > 0 and row.last_seen < max(now - asked.time_ttl_ms, NEVER)
        stale = asked.step_ttl > 0 and step - row.stamp > asked.step_ttl
        values = row.values.astype(np.float64)
        total = 0.0
        for value in values.tolist():
            total += value * value
        return late or stale or (asked.half_norm is not None and total / 2 <= asked.half_norm)

    def _worth(self, key: int) -> tuple[int, int]:
        row = self.rows[key]
        both = (row.frequency, row.last_seen)
        return both if self.settings.eviction.order == "lfu" else both[::-1]

    def _remove(self, key: int) -> None:
        del self.rows[key]
        self.erased.add(key)
        self.touched.discard(key)

    def erase(self, keys: list[int]) -> None:
        """Deletes keys; those present are tombstones until they come back."""
        for key in keys:
            if key in self.rows:
                self._remove(key)

    def changes(self) -> tuple[set[int], set[int]]:
        """Keys of the rows and of the tombstones that a capture must hold; forgets them."""
        gone = {key for key in self.erased if key not in self.rows}
        changed = (self.touched | self.erased) & set(self.rows)
        self.touched, self.erased = set(), set()
        return changed, gone


@dataclass
class ReferenceTables:
    """The same contract as EmbeddingTables, one dict per table."""

    tables: tuple[TableSettings, ...]
    columns: tuple[ColumnSettings, ...]
    stride: int
    step: int = 0
    clock: int = NEVER

    def __post_init__(self) -> None:
        self.of = {table.name: ReferenceTable(table) for table in self.tables}

    def of_sample(self, batch: EncodedBatch, column: int, sample: int) -> tuple[list[int], Floats | None]:
        """The ids of one sample that count, and their weights."""
        splits = batch.splits[column]
        if splits is None:
            return [int(batch.ids[column][sample])], None
        begin, end = int(splits[sample]), int(splits[sample + 1])
        asked = self.columns[column]
        if asked.combiner == "none":
            begin, end = (begin, min(end, begin + asked.length)) if asked.keep == "first" else (max(begin, end - asked.length), end)
        part = slice(begin, end)
        weights = batch.weights[column] if batch.weights else None
        return [int(key) for key in batch.ids[column][part]], None if weights is None else weights[part]

    def occurrences(self, batch: EncodedBatch) -> dict[str, dict[int, int]]:
        """How often each key of each table is in the batch."""
        counts: dict[str, dict[int, int]] = {name: {} for name in self.of}
        for position, column in enumerate(self.columns):
            of_table = counts[column.table]
            for sample in range(batch.rows):
                for key in self.of_sample(batch, position, sample)[0]:
                    of_table[key] = of_table.get(key, 0) + 1
        return counts

    def width(self, column: ColumnSettings) -> int:
        """Floats of a column's block."""
        dim = self.of[column.table].settings.dim
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
        at = 0
        for position, column in enumerate(self.columns):
            table = self.of[column.table]
            dim = table.settings.dim
            for sample in range(batch.rows):
                keys, weights = self.of_sample(batch, position, sample)
                rows = [table.read(key, counts[column.table][key], self.step, self.clock) for key in keys]
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
        sums: dict[str, dict[int, Floats]] = {name: {} for name in self.of}
        counts = self.occurrences(batch)
        at = 0
        for position, column in enumerate(self.columns):
            dim = self.of[column.table].settings.dim
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
            self.of[name].apply(of_table, counts[name], self.step, self.clock, event_ms)
        self.step += 1
        self.clock = max(self.clock, event_ms)
