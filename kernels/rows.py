"""What passes between tables and versions: rows as plain arrays; must not know how either side stores them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Selection: TypeAlias = slice | NDArray[np.bool_] | NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class AdmissionCounts:
    """What admission remembers of one table: per key not yet admitted, or per block of its filter.

    Attributes:
        table: Name of the table.
        keys: int64 [n], keys (counter) or block numbers (bloom).
        counters: uint8 [n, w], a block's counters; w = 0 for counter.
        occurrences: uint32 [n], a key's occurrences, 1 for a block; 0 says that the key is forgotten.
        last_seen: int64 [n], newest event time in ms (counter), the period that the counters belong to (bloom).
    """

    table: str
    keys: NDArray[np.int64]
    counters: NDArray[np.uint8]
    occurrences: NDArray[np.uint32]
    last_seen: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TableRows:
    """Rows of one table. A key occurs once: as a row or as a tombstone.

    Attributes:
        table: Name of the table.
        keys: int64 [n]; any int64 is a key.
        values: float32 [n, dim].
        slots: float32 [n, slot_width], the optimizer's state: its arrays [dim] one after the other, then its single
            numbers, such as Adam's step count; last, where rows leave by steps, the step of the last update as the bits
            of an unsigned integer. Width 0 for tables that are not trainable.
        frequency: uint32 [n], occurrences trained so far; saturates.
        last_seen: int64 [n], newest event time in ms since 1970.
        tombstones: int64 [m], keys that are gone.
        counts: What admission remembers; None where it remembers nothing or nobody asked.
    """

    table: str
    keys: NDArray[np.int64]
    values: NDArray[np.float32]
    slots: NDArray[np.float32]
    frequency: NDArray[np.uint32]
    last_seen: NDArray[np.int64]
    tombstones: NDArray[np.int64]
    counts: AdmissionCounts | None = None

    def taken(self, rows: Selection, tombstones: Selection) -> TableRows:
        """Those rows and tombstones alone, without counts; views where slices are given.

        Args:
            rows: A slice, a mask [n] or positions.
            tombstones: The same, of the tombstones [m].
        """
        return TableRows(
            table=self.table,
            keys=self.keys[rows],
            values=self.values[rows],
            slots=self.slots[rows],
            frequency=self.frequency[rows],
            last_seen=self.last_seen[rows],
            tombstones=self.tombstones[tombstones],
        )
