"""What became of single rows and of whole tables between versions; for people, never on a hot path."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from checkpointing.content import LearnerState
from checkpointing.download import fetch
from checkpointing.hash_order import is_member, mix64
from checkpointing.history import ahead
from checkpointing.lease import held_chain
from checkpointing.link import Link
from checkpointing.restore import restore
from infra.clock import Clock
from infra.object_store import ObjectStore
from kernels.rows import TableRows


@dataclass(frozen=True)
class RowState:
    """A row as one version left it.

    Attributes:
        version: The version, or that of a base that holds the row from before.
        table: Its table.
        key: Its key.
        in_base: Whether a base says so, and the version that wrote it is not known any more.
        values: float32 [dim]; None where the version deleted the row.
        frequency: Occurrences trained until then.
        last_seen: Newest event time, milliseconds.
    """

    version: int
    table: str
    key: int
    in_base: bool
    values: NDArray[np.float32] | None
    frequency: int
    last_seen: int


def row_history(store: ObjectStore, model: str, version: int, key: int, clock: Clock) -> Iterator[RowState]:
    """What each step on the way to ``version`` did to the rows of ``key``, oldest first.

    Raises:
        Invalid: There is no such version.
        Corrupt: A file on the way is wrong.
        Unavailable: The store does not answer.
    """
    with held_chain(store, model, version, "inspection", clock) as (chain, lease):
        parts = 0 if chain.base is None else len(chain.base.parts)

        def look(item: tuple[int, Link]) -> list[RowState]:
            number, link = item
            delta = fetch(store, link, serving_only=False)
            return [found for rows in delta.tables if (found := _find(rows, key, link.version, number < parts))]

        for found in ahead(look, list(enumerate(chain.links))):
            lease.renew()
            yield from found


def _find(rows: TableRows, key: int, version: int, in_base: bool) -> RowState | None:
    if key in rows.tombstones:
        return RowState(version, rows.table, key, in_base, None, 0, 0)
    (at,) = np.nonzero(rows.keys == key)
    if not len(at):
        return None
    row = int(at[0])
    seen = int(rows.frequency[row]), int(rows.last_seen[row])
    return RowState(version, rows.table, key, in_base, rows.values[row], *seen)


@dataclass(frozen=True)
class TableDifference:
    """How a table differs between two versions.

    Attributes:
        table: Its name.
        added: Rows that only the later one has.
        removed: Rows that only the earlier one has.
        changed: Rows of both whose values differ.
        same: Rows of both whose values are equal.
        largest: The largest difference of any value.
    """

    table: str
    added: int
    removed: int
    changed: int
    same: int
    largest: float


def difference(store: ObjectStore, model: str, earlier: int, later: int, clock: Clock) -> list[TableDifference]:
    """Compares two versions row by row, in any order and of any lines; raises as :func:`row_history`."""
    states = [restore(store, model, version, clock=clock) for version in (earlier, later)]
    names = dict.fromkeys(name for state in states for name in state.tables)
    return [_difference(name, *states) for name in names]


def _difference(name: str, earlier: LearnerState, later: LearnerState) -> TableDifference:
    old, new = earlier.tables.get(name), later.tables.get(name)
    if old is None or new is None:
        return TableDifference(
            name, 0 if new is None else len(new.keys), 0 if old is None else len(old.keys), 0, 0, 0.0
        )
    old_hashes, new_hashes = mix64(old.keys), mix64(new.keys)
    # Both stand in hash order, so that the rows of both stand in one order, too.
    before, after = old.values[is_member(old_hashes, new_hashes)], new.values[is_member(new_hashes, old_hashes)]
    differs = (before != after).any(axis=1)
    largest = float(np.abs(after - before).max(initial=0.0))
    changed = int(differs.sum())
    return TableDifference(
        name, len(new.keys) - len(after), len(old.keys) - len(before), changed, len(after) - changed, largest
    )
