"""Rows of all tables at one version, never changed and cheap to extend; must not know versions or who reads."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from kernels import _core
from kernels.rows import TableRows
from kernels.settings import TableSettings

_Block = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]


class Snapshot:
    """A base and one overlay over everything that came after it, in sealed memory; read by ``TableReader.lookup``.

    Extending makes another snapshot, which shares the base and all rows that did not change; it takes time with the
    overlay, not with the base. Any number of threads may read any number of snapshots while others are made; the
    memory of one goes with its last reference. Made by ``EmbeddingTables.snapshot``.
    """

    def __init__(self, core: _core.Snapshot, tables: Sequence[TableSettings]) -> None:
        self.core = core
        self._tables = tuple(tables)

    @classmethod
    def make(cls, group: _core.Group, tables: Sequence[TableSettings], rows: Iterable[TableRows]) -> Snapshot:
        """What ``EmbeddingTables.snapshot`` gives."""
        return cls(_core.make_snapshot(group, _blocks(tables, rows)), tables)

    @classmethod
    def opened(
        cls,
        group: _core.Group,
        tables: Sequence[TableSettings],
        layout: Sequence[int],
        files: Sequence[int],
        known: Sequence[Snapshot],
    ) -> Snapshot:
        """What ``EmbeddingTables.opened`` gives."""
        return cls(_core.open_snapshot(group, layout, files, [one.core for one in known]), tables)

    def extended(self, rows: Iterable[TableRows]) -> Snapshot:
        """This with rows replaced and tombstones' rows gone; this one stays as it is.

        Rows in hash order, as packs have them, are taken fastest.

        Raises:
            KeyError: An unknown table.
            ValueError: Shapes do not fit the table.
            MemoryError: No room.
            OSError: No room for another file.
        """
        return Snapshot(self.core.extended(_blocks(self._tables, rows)), self._tables)

    @property
    def compaction_due(self) -> bool:
        """Whether the overlay has outgrown a tenth of the base, or lies in too many pieces to be read fast."""
        return self.core.compaction_due()

    def compacted(self) -> Snapshot:
        """The same rows in fewer pieces; takes time with the base where the overlay has outgrown a tenth of it.

        Raises:
            MemoryError: No room.
            OSError: No room for another file.
        """
        return Snapshot(self.core.compacted(), self._tables)

    @property
    def files(self) -> list[int]:
        """File descriptors of the memory behind it, to be sent to another process while this stays."""
        return self.core.files()

    @property
    def layout(self) -> list[int]:
        """Numbers that say what lies where in ``files``."""
        return self.core.layout()

    def row_counts(self) -> dict[str, int]:
        """Rows by table."""
        return {table.name: self.core.row_count(position) for position, table in enumerate(self._tables)}

    def changed_counts(self) -> dict[str, int]:
        """Keys in the overlay by table."""
        return {table.name: self.core.changed_count(position) for position, table in enumerate(self._tables)}

    def memory_bytes(self) -> int:
        """Bytes behind it; what snapshots share is counted by each."""
        return self.core.memory_bytes()


def _blocks(tables: Sequence[TableSettings], rows: Iterable[TableRows]) -> list[_Block]:
    """One block per table in table order, empty where there are no rows."""
    given = {block.table: block for block in rows}
    known = {table.name for table in tables}
    for name in given:
        if name not in known:
            raise KeyError(f"unknown table {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
    nothing = np.empty(0, np.int64)
    blocks: list[_Block] = []
    for table in tables:
        block = given.get(table.name)
        if block is None:
            blocks.append((nothing, np.empty((0, table.dim), np.float32), nothing))
        else:
            values = np.ascontiguousarray(block.values)
            blocks.append((np.ascontiguousarray(block.keys), values, np.ascontiguousarray(block.tombstones)))
    return blocks
