"""The Python face of the C++ tables: settings in, arrays in and out; must not know features, TensorFlow or versions."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from kernels import _core
from kernels.batch import EncodedBatch
from kernels.core_settings import core_space, core_table
from kernels.lifecycle_settings import AdmissionSettings, EvictionSettings
from kernels.optimizer_settings import OptimizerSettings, ScheduleSettings
from kernels.row_shapes import AdaptiveRows, MultiHash, stored_tables
from kernels.rows import AdmissionCounts, TableRows
from kernels.settings import ColumnSettings, InitializerSettings, Rung, TableSettings
from kernels.snapshot import Snapshot
from kernels.table_reader import RowHalves, TableReader

__all__ = [
    "AdaptiveRows",
    "AdmissionCounts",
    "AdmissionSettings",
    "ColumnSettings",
    "EmbeddingTables",
    "EncodedBatch",
    "EvictionSettings",
    "InitializerSettings",
    "MultiHash",
    "OptimizerSettings",
    "Rung",
    "ScheduleSettings",
    "Snapshot",
    "TableReader",
    "TableRows",
    "TableSettings",
]

_FORGOTTEN = np.uint32(0)


def _refuse_repeats(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} names must be unique; twice: {', '.join(twice)}")


def _position_of(name: str, positions: Mapping[str, int]) -> int:
    try:
        return positions[name]
    except KeyError:
        known = ", ".join(positions) or "none"
        raise KeyError(f"unknown table {name!r}; there are: {known}") from None


class EmbeddingTables:
    """All tables of a model behind one fused lookup and one fused update.

    The buffer is float32 [max_batch, stride], 64-byte aligned, rows at multiples of 64 bytes. A row holds one block per
    column in column order (``offsets[name]``, ``widths[name]``: the table's dim or, with the combiner ``none``, length
    times dim and one more for the number of positions), then the numbers (``numbers_offset``), then zeros. It supports
    ``__dlpack__``; ``buffer[:rows]`` shares it without a copy.

    A step is ``prepare(batch)``, ``lookup()``, ``apply(gradient, event_ms)``, in this order. ``prepare`` of the next
    batch may come before ``apply`` of this one. ``apply`` is all that changes tables: a lookup whose gradient never
    comes leaves no trace. Calls from several threads run one after the other. Rows are the same bit for bit whatever
    ``threads`` is.

    Rows pass in and out by the tables that they are kept in. Those are the ones of the id spaces, but for row shapes of
    several: beside a table with adaptive rows stands ``<name>__shared``, and instead of one with a multi-hash
    ``<name>__quotient`` and ``<name>__remainder`` (kernels/ROW_SHAPES.md).

    Attributes:
        tables: The tables that rows are kept in.
        spaces: Per name of those, the id space that it belongs to.
        settings: The id spaces as they were given; others with the same ones have the same layout.

    Args:
        tables: One per id space.
        columns: One per id feature, in feature order; several may share a table.
        numbers: How many number features follow the id features.
        max_batch: The largest number of rows of a batch.
        threads: Threads that the calls use, the calling one included.
        trainable: False for a replica: rows keep values only, and batches are answered by ``reader()``.

    Raises:
        ValueError: A name occurs twice, or a size is out of range.
        KeyError: A column names an unknown table.
        MemoryError: No room for the buffer.
    """

    def __init__(
        self,
        tables: Iterable[TableSettings],
        columns: Iterable[ColumnSettings],
        numbers: int,
        max_batch: int,
        threads: int = 1,
        trainable: bool = True,
    ) -> None:
        self.settings = spaces = tuple(tables)
        stored = [stored_tables(table) for table in spaces]
        self.tables = tuple(table for tables_of in stored for table in tables_of)
        self.spaces: Mapping[str, str] = MappingProxyType(
            {table.name: space.name for space, tables_of in zip(spaces, stored, strict=True) for table in tables_of}
        )
        self.columns = tuple(columns)
        self.numbers = numbers
        self.max_batch = max_batch
        self.trainable = trainable
        _refuse_repeats("table", [table.name for table in self.tables])
        _refuse_repeats("column", [column.name for column in self.columns])
        for what, value, least in (("numbers", numbers, 0), ("max_batch", max_batch, 1), ("threads", threads, 1)):
            if value < least:
                raise ValueError(f"{what} is {value}; wanted at least {least}")
        self._position = {table.name: position for position, table in enumerate(self.tables)}
        begins = [sum(map(len, stored[:position])) for position in range(len(stored))]
        space_of = {table.name: position for position, table in enumerate(spaces)}
        self._group = _core.Group(
            tables=[core_table(table) for table in self.tables],
            spaces=[core_space(table, first) for table, first in zip(spaces, begins, strict=True)],
            columns=[
                _core.ColumnSettings(
                    column.name,
                    _position_of(column.table, space_of),
                    _core.Combiner[column.combiner],
                    column.length,
                    column.keep == "last",
                )
                for column in self.columns
            ],
            numbers=numbers,
            max_batch=max_batch,
            threads=threads,
            trainable=trainable,
        )
        names = [column.name for column in self.columns]
        self.offsets: Mapping[str, int] = MappingProxyType(dict(zip(names, self._group.offsets(), strict=True)))
        self.widths: Mapping[str, int] = MappingProxyType(dict(zip(names, self._group.widths(), strict=True)))
        self.numbers_offset = self._group.numbers_offset()
        self.width = self._group.width()
        self.stride = self._group.stride()

    @property
    def buffer(self) -> NDArray[np.float32]:
        """The buffer that ``lookup`` fills, float32 [max_batch, stride].

        Raises:
            ValueError: The tables are not trainable; each reader has its own buffer.
        """
        if not self.trainable:
            raise ValueError("tables that are not trainable have no buffer; each reader() has its own")
        return self._group.buffer()

    def prepare(self, batch: EncodedBatch) -> None:
        """Hashes and de-duplicates the ids of the next batch; changes no table and not the buffer.

        Raises:
            ValueError: Sizes do not fit, or a number is not finite.
        """
        self._group.prepare(batch.rows, batch.ids, batch.splits, batch.weights, batch.numbers)

    def lookup(self) -> int:
        """Fills ``buffer[:rows]`` for the prepared batch and returns ``rows``; changes no table.

        A key without a row reads as the row that it would begin with or, where it is not admitted yet, as its shared
        row, or else as its table's ``not_admitted``.

        Raises:
            ValueError: No batch is prepared.
            MemoryError: No room; the batch is still prepared.
        """
        return self._group.lookup()

    def apply(self, gradient: NDArray[np.float32], event_ms: int) -> None:
        """One step for the keys of the last lookup: admit, create, update, grow, evict.

        Gradients are summed per unique key (in column, then batch order) before the one update of its row, which also
        adds the key's occurrences to its frequency and raises its last-seen to ``event_ms``. Keys that are not admitted
        are counted and learn nothing. Then a slice of each table is swept for rows that its settings evict.

        Args:
            gradient: float32 [rows, stride], of the loss by ``buffer[:rows]``; numbers, padding, and positions that a
                sample does not have are ignored.
            event_ms: Event time of the batch, ms since 1970.

        Raises:
            ValueError: No lookup before it, or a gradient that does not fit or is not finite; no row changed.
            MemoryError: No room; no row changed.
        """
        self._group.apply(gradient, event_ms)

    def capture(self) -> list[TableRows]:
        """Rows touched and keys erased since the last capture, one entry per table in table order.

        Rows stand in the order in which they were first touched, tombstones in ascending order. The time is
        proportional to what changed. A row that was only looked up is not in it: it still has its initial values.

        Raises:
            MemoryError: No room for the copy; nothing was forgotten.
        """
        return [
            self._rows(position, table.name, block)
            for position, (table, block) in enumerate(zip(self.tables, self._group.capture(), strict=True))
        ]

    def put_back(self, rows: Iterable[TableRows]) -> None:
        """Marks the keys of an abandoned capture as changed again; the next capture reads their values of then.

        Raises:
            KeyError: An unknown table.
        """
        for block in rows:
            position = self._table(block.table)
            self._group.put_back(position, block.keys, block.tombstones)
            if block.counts is not None:
                gone = block.counts.occurrences == _FORGOTTEN
                self._group.put_back_counts(position, block.counts.keys[~gone], block.counts.keys[gone])

    def export(self, name: str) -> TableRows:
        """All rows of a table and what its admission remembers, by row number; forgets no mark.

        Raises:
            KeyError: An unknown table.
        """
        position = self._table(name)
        return self._rows(position, name, self._group.export_rows(position))

    def import_rows(self, rows: TableRows) -> None:
        """Writes rows as they are and deletes tombstones; marks nothing as changed.

        Tables that are not trainable take the values and ignore the rest. A lookup whose gradient is still to come is
        forgotten.

        Raises:
            KeyError: An unknown table.
            ValueError: Shapes do not fit the table; nothing was changed.
            MemoryError: No room; nothing was changed.
        """
        position = self._table(rows.table)
        counts = rows.counts
        if counts is None or not self.trainable:
            counts = self._nothing_counted(position)
        elif counts.table != rows.table:
            raise ValueError(f"rows of table {rows.table!r} with counts of {counts.table!r}; wanted one table's")
        self._group.import_rows(
            position,
            np.ascontiguousarray(rows.keys),
            np.ascontiguousarray(rows.values),
            np.ascontiguousarray(rows.slots),
            np.ascontiguousarray(rows.frequency),
            np.ascontiguousarray(rows.last_seen),
            np.ascontiguousarray(rows.tombstones),
            np.ascontiguousarray(counts.keys),
            np.ascontiguousarray(counts.counters),
            np.ascontiguousarray(counts.occurrences),
            np.ascontiguousarray(counts.last_seen),
        )

    def import_counts(self, counts: AdmissionCounts) -> None:
        """Takes over what admission remembers, entry by entry: later ones win, those of 0 occurrences are forgotten.

        Raises:
            KeyError: An unknown table.
            ValueError: They were made by another kind of admission; nothing was changed.
            MemoryError: No room; nothing was changed.
        """
        self._group.import_counts(
            self._table(counts.table),
            np.ascontiguousarray(counts.keys),
            np.ascontiguousarray(counts.counters),
            np.ascontiguousarray(counts.occurrences),
            np.ascontiguousarray(counts.last_seen),
        )

    def state(self) -> NDArray[np.int64]:
        """What beside rows and counts decides how training goes on: int64 [2 + 6 tables].

        Steps applied, the newest event time in ms, then per table where its three sweeps stand. Taken at the same step
        boundary as ``capture``, it makes an exact restore.
        """
        return self._group.state()

    def restore(self, state: NDArray[np.int64]) -> None:
        """Takes over what :meth:`state` gave.

        Raises:
            ValueError: It is another number of tables' state.
        """
        self._group.restore(np.ascontiguousarray(state, np.int64))

    def erase(self, name: str, keys: NDArray[np.int64]) -> int:
        """Deletes keys; each that was present becomes a tombstone of the next capture. Returns how many were.

        Raises:
            KeyError: An unknown table.
            ValueError: A lookup waits for its gradient.
        """
        return self._group.erase(self._table(name), np.ascontiguousarray(keys, np.int64))

    def reader(self) -> TableReader:
        """A view for answering batches that never changes the tables."""
        return TableReader(self._group)

    def halves(self, shared: NDArray[np.int64]) -> RowHalves:
        """How ``TableReader.lookup_halves`` takes rows apart.

        Args:
            shared: Floats of a row that all rows of a batch have in common, int64 [s].

        Raises:
            ValueError: There is no such float, or a column is shared in part.
        """
        return RowHalves(self._group, shared)

    def snapshot(self, rows: Iterable[TableRows]) -> Snapshot:
        """These rows as a snapshot for tables of these settings, which this object's own rows have no part in.

        Args:
            rows: All rows there are, at most one entry per table; tombstones, slots and metadata mean nothing.

        Raises:
            KeyError: An unknown table.
            ValueError: Shapes do not fit the table.
            MemoryError: No room.
            OSError: No room for another file.
        """
        return Snapshot.make(self._group, self.tables, rows)

    def opened(self, layout: Sequence[int], files: Sequence[int], known: Sequence[Snapshot] = ()) -> Snapshot:
        """A snapshot that another process made of tables of these settings: the same memory, not a copy.

        Args:
            layout: What it told of its snapshot.
            files: File descriptors as they arrived here; the caller closes them.
            known: Snapshots opened before; what they share with this one is not mapped again.

        Raises:
            ValueError: A file is not sealed, or the layout does not fit the files or these tables.
            MemoryError: No room in the address space.
        """
        return Snapshot.opened(self._group, self.tables, layout, files, known)

    def row_count(self, name: str) -> int:
        """Rows in a table.

        Raises:
            KeyError: An unknown table.
        """
        return self._group.row_count(self._table(name))

    def table_bytes(self, name: str) -> int:
        """Bytes behind one table's rows, index and admission.

        Raises:
            KeyError: An unknown table.
        """
        return self._group.table_bytes(self._table(name))

    def memory_bytes(self) -> int:
        """Bytes behind rows, indices and the buffer; scratch space of a batch is not counted."""
        return self._group.memory_bytes()

    def slot_width(self, name: str) -> int:
        """Floats of optimizer state per row; 0 where not trainable.

        Raises:
            KeyError: An unknown table.
        """
        return self._group.slot_width(self._table(name))

    def _rows(self, position: int, name: str, block: _core.Block) -> TableRows:
        remembered: AdmissionCounts | None = None
        if self.trainable and self.tables[position].admission.kind in ("counter", "bloom"):
            # Nothing is copied here: what was captured is forgotten, and a copy may find no room.
            remembered = AdmissionCounts(name, *block[6])
        return TableRows(name, *block[:6], counts=remembered)

    def _nothing_counted(self, position: int) -> AdmissionCounts:
        return AdmissionCounts(
            self.tables[position].name,
            np.empty(0, np.int64),
            np.empty((0, self._group.counter_width(position)), np.uint8),
            np.empty(0, np.uint32),
            np.empty(0, np.int64),
        )

    def _table(self, name: str) -> int:
        return _position_of(name, self._position)
