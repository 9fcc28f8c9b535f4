"""What passes between tables and versions: rows as plain arrays; must not know how either side stores them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TableRows:
    """Rows of one table. A key occurs once: as a row or as a tombstone.

    Attributes:
        table: Name of the table.
        keys: int64 [n]; any int64 is a key.
        values: float32 [n, dim].
        slots: float32 [n, slot_width], the optimizer's state: Adagrad [dim] accumulators; Adam [dim] first moments,
            [dim] second moments, [1] the row's own step count. Width 0 for tables that are not trainable.
        frequency: uint32 [n], occurrences trained so far; saturates.
        last_seen: int64 [n], newest event time in ms since 1970.
        tombstones: int64 [m], keys that are gone.
    """

    table: str
    keys: NDArray[np.int64]
    values: NDArray[np.float32]
    slots: NDArray[np.float32]
    frequency: NDArray[np.uint32]
    last_seen: NDArray[np.int64]
    tombstones: NDArray[np.int64]
