"""One plain dict-and-numpy table that a C++ one must equal bit for bit; knows the formulas, not the engine."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kernels.settings import TableSettings
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

    def fresh(self, key: int, values: Floats | None = None) -> Row:
        """The row that a key begins with, from the initializer unless values are given."""
        if values is None:
            values = nearest(initial_row(self.settings, key)[: self.settings.dims[0]], self.settings.precision)
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

    def refused(self, counts: dict[int, int], step: int, clock: int) -> list[int]:
        """The keys of a batch that have no row and get none."""
        return [key for key in counts if key not in self.rows and not self.counts.admits(key, counts[key], step, clock)]

    def apply(
        self,
        sums: dict[int, Floats],
        counts: dict[int, int],
        step: int,
        clock: int,
        event_ms: int,
        begin: dict[int, Floats] | None = None,
    ) -> None:
        """One step: admit, create (with the values of ``begin``, if given), count, update, grow, evict."""
        refused = self.refused(counts, step, clock)
        admitted = [key for key in sums if key not in self.rows and key not in refused]
        plan = self.evictor.plan(set(self.rows), len(admitted))
        ttl = self.settings.eviction.time_ttl_ms
        swept = self.evictor.counts.slice(
            self.settings.eviction.rows_per_step, len(self.counts.keys) + len(self.counts.blocks) + len(refused)
        )
        for key in admitted:
            self.rows[key] = self.fresh(key, None if begin is None else begin[key])
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
