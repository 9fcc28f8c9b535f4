"""What replicas have not got yet of the versions since the last servable one; must not know why they were refused."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from checkpointing.content import no_state
from kernels.rows import TableRows
from learner.witness import Chunk, Seen

Dense = Mapping[str, npt.NDArray[Any]]

# So many of the newest versions stand alone, each of which a person may promote; older ones are merged.
_ALONE: Final = 8


@dataclass
class Stretch:
    """One version, or several that were merged.

    Args:
        tables: Rows as replicas have them; of a key the newest.
        dense: The newest dense weights.
        seen: What their samples showed.
        chunks: The samples of the first of them that has any.
        version: The last one's number; 0 until it is committed.
        first: The first one's.
        begins: Whether ``tables`` are all rows there are, rather than what changed.
    """

    tables: Sequence[TableRows]
    dense: Dense
    seen: Seen
    chunks: tuple[Chunk, ...] = ()
    version: int = 0
    first: int = 0
    begins: bool = False

    @property
    def size(self) -> int:
        """Keys in it."""
        return sum(len(rows.keys) + len(rows.tombstones) for rows in self.tables)


class Held:
    """Refused versions, oldest first, in memory of a few of them and at most about twice the rows that all touched."""

    def __init__(self) -> None:
        self._stretches: list[Stretch] = []

    def __iter__(self) -> Iterator[Stretch]:
        return iter(self._stretches)

    def __len__(self) -> int:
        return len(self._stretches)

    def add(self, stretch: Stretch) -> None:
        """The newest version."""
        stretch.tables = [no_state(each.table, each.keys, each.values, each.tombstones) for each in stretch.tables]
        stretch.first = stretch.version
        self._stretches.append(stretch)
        end = len(self._stretches) - _ALONE
        # Runs that halve from the bottom up: n rows cost n log n in all, and not n for each version.
        while end > 1 and self._stretches[end - 2].size <= 2 * self._stretches[end - 1].size:
            newer = self._stretches.pop(end - 1)
            self._stretches[end - 2] = _merged(self._stretches[end - 2], newer)
            end -= 1

    def number(self, version: int) -> None:
        """The newest was committed as ``version``."""
        if self._stretches:
            self._stretches[-1].version = self._stretches[-1].first = version

    def take(self, promoted: Collection[int]) -> list[Stretch]:
        """Those up to the newest promoted version, no longer held; of versions that were merged all."""
        last = max(promoted, default=0)
        taken = [stretch for stretch in self._stretches if 0 < stretch.first <= last]
        del self._stretches[: len(taken)]
        return taken

    def memory_bytes(self) -> int:
        """Bytes of their rows."""
        arrays = (
            each
            for stretch in self._stretches
            for rows in stretch.tables
            for each in (rows.keys, rows.values, rows.tombstones)
        )
        return sum(each.nbytes for each in arrays)

    def drop_rows(self) -> None:
        """Forgets rows; weights, and what samples showed, stay."""
        for stretch in self._stretches:
            stretch.tables = ()

    def clear(self) -> None:
        """Nothing is held."""
        self._stretches.clear()


def _merged(older: Stretch, newer: Stretch) -> Stretch:
    tables = {rows.table: rows for rows in older.tables}
    for rows in newer.tables:
        tables[rows.table] = _newest(tables[rows.table], rows) if rows.table in tables else rows
    return Stretch(
        tuple(tables.values()),
        newer.dense or older.dense,
        older.seen.plus(newer.seen),
        older.chunks or newer.chunks,
        newer.version,
        older.first,
        older.begins,
    )


def _newest(older: TableRows, newer: TableRows) -> TableRows:
    touched = np.concatenate([newer.keys, newer.tombstones])
    stays, gone = ~np.isin(older.keys, touched), ~np.isin(older.tombstones, touched)
    return no_state(
        newer.table,
        np.concatenate([older.keys[stays], newer.keys]),
        np.concatenate([older.values[stays], newer.values]),
        np.concatenate([older.tombstones[gone], newer.tombstones]),
    )
