"""Later rows win and tombstones delete: deltas of one table become one; must not know files or versions."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from checkpointing.hash_order import is_member, mix64
from infra.errors import Corrupt
from kernels.rows import TableRows


def merge(older: TableRows, newer: TableRows) -> TableRows:
    """Both of one table and in hash order, as one delta in hash order; its tombstones are kept.

    Raises:
        Corrupt: They have rows of different widths.
    """
    if older.values.shape[1] != newer.values.shape[1] or older.slots.shape[1] != newer.slots.shape[1]:
        raise Corrupt(
            f"table `{newer.table}` changes from {older.values.shape[1]} values and {older.slots.shape[1]} slots a row"
            f" to {newer.values.shape[1]} and {newer.slots.shape[1]}",
            wanted="one width in all versions",
        )
    old, old_gone = mix64(older.keys), mix64(older.tombstones)
    new, new_gone = mix64(newer.keys), mix64(newer.tombstones)
    kept = np.flatnonzero(~(is_member(old, new) | is_member(old, new_gone)))
    kept_gone = np.flatnonzero(~(is_member(old_gone, new) | is_member(old_gone, new_gone)))
    # Two ascending runs: the stable sort finds them and merges in one pass.
    order = np.argsort(np.concatenate([old[kept], new]), kind="stable")
    gone_order = np.argsort(np.concatenate([old_gone[kept_gone], new_gone]), kind="stable")
    return TableRows(
        table=newer.table,
        keys=np.concatenate([older.keys[kept], newer.keys])[order],
        values=np.concatenate([older.values[kept], newer.values])[order],
        slots=np.concatenate([older.slots[kept], newer.slots])[order],
        frequency=np.concatenate([older.frequency[kept], newer.frequency])[order],
        last_seen=np.concatenate([older.last_seen[kept], newer.last_seen])[order],
        tombstones=np.concatenate([older.tombstones[kept_gone], newer.tombstones])[gone_order],
    )


def without_tombstones(rows: TableRows) -> TableRows:
    """All rows there are: beneath them is nothing that a tombstone could still delete."""
    return rows.taken(slice(None), slice(0))


class Fold:
    """Merges any number of deltas, oldest first, in memory of at most about twice the distinct rows plus one delta.

    Runs are kept in sizes that halve from the bottom up, and equal ones are merged, so that n rows cost
    n log n in all and not n times the number of deltas.
    """

    def __init__(self) -> None:
        self._runs: dict[str, list[TableRows]] = {}

    def add(self, rows: TableRows) -> None:
        """Adds the next delta of its table, in hash order."""
        runs = self._runs.setdefault(rows.table, [])
        runs.append(rows)
        while len(runs) > 1 and _size(runs[-2]) <= 2 * _size(runs[-1]):
            newer = runs.pop()
            runs[-1] = merge(runs[-1], newer)

    def result(self, *, keep_tombstones: bool) -> tuple[TableRows, ...]:
        """One delta per table, in the order in which tables first came; the fold goes on from it."""
        for table, runs in self._runs.items():
            while len(runs) > 1:
                newer = runs.pop()
                runs[-1] = merge(runs[-1], newer)
            if not keep_tombstones:
                self._runs[table] = [without_tombstones(runs[0])]
        return tuple(runs[0] for runs in self._runs.values())


def _size(rows: TableRows) -> int:
    return len(rows.keys) + len(rows.tombstones)
