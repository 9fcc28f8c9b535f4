"""The endless stream that learners of a run train on, one record after the other; knows no version."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from kernels.rows import TableRows

State = dict[int, int]
Change = dict[int, int | None]
KEYS = 8


class Stream:
    """Record n says what becomes of one row; the same seed is the same stream."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed ^ 0x5EED)
        self._records: list[tuple[int, int | None]] = []

    def change(self, begin: int, end: int) -> Change:
        """What training on records ``begin`` to ``end`` does: the last record of a row counts."""
        draw = self._random
        while len(self._records) < end:
            self._records.append((draw.randrange(KEYS), None if draw.random() < 0.3 else draw.randrange(1, 99)))
        return dict(self._records[begin:end])


def after(state: State, change: Change) -> State:
    """``state`` with ``change``."""
    merged = {**state, **change}
    return {key: number for key, number in merged.items() if number is not None}


def rows_of(change: Change) -> list[TableRows]:
    """The change as a table `t` whose rows are one number each; none where nothing changed."""
    if not change:
        return []
    rows = [(key, number) for key, number in change.items() if number is not None]
    numbers = np.array([number for _, number in rows], dtype=np.int64)
    return [
        TableRows(
            table="t",
            keys=np.array([key for key, _ in rows], dtype=np.int64),
            values=numbers.astype(np.float32)[:, None],
            slots=np.empty((len(rows), 0), dtype=np.float32),
            frequency=numbers.astype(np.uint32),
            last_seen=numbers,
            tombstones=np.array([key for key, number in change.items() if number is None], dtype=np.int64),
        )
    ]


def apply(state: State, tables: Sequence[TableRows]) -> None:
    """Applies rows as a replica or a restore gets them."""
    for rows in tables:
        for key in rows.tombstones.tolist():
            state.pop(key, None)
        state.update(zip(rows.keys.tolist(), map(int, rows.values[:, 0].tolist()), strict=True))
