"""The Python face of the C++ tables: settings in, arrays in and out; must not know features, TensorFlow or versions."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from kernels import _core
from kernels.batch import EncodedBatch
from kernels.rows import TableRows
from kernels.settings import ColumnSettings, InitializerSettings, OptimizerSettings, TableSettings

__all__ = [
    "ColumnSettings",
    "EmbeddingTables",
    "EncodedBatch",
    "InitializerSettings",
    "OptimizerSettings",
    "TableReader",
    "TableRows",
    "TableSettings",
]


def _core_table(table: TableSettings) -> _core.TableSettings:
    return _core.TableSettings(
        name=table.name,
        dim=table.dim,
        seed=table.seed % 2**64,
        initializer=_core.InitializerKind[table.initializer.kind],
        scale=table.initializer.scale,
        optimizer=_core.OptimizerKind[table.optimizer.kind],
        learning_rate=table.optimizer.learning_rate,
        initial_accumulator=table.optimizer.initial_accumulator,
        beta1=table.optimizer.beta1,
        beta2=table.optimizer.beta2,
        epsilon=table.optimizer.epsilon,
    )


def _refuse_repeats(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} names must be unique; twice: {', '.join(twice)}")


class EmbeddingTables:
    """All tables of a model behind one fused lookup and one fused update.

    The buffer is float32 [max_batch, stride], 64-byte aligned, rows at multiples of 64 bytes. A row holds one block per
    column in column order (``offsets[name]``, as wide as the table's dim), then the numbers (``numbers_offset``), then
    zeros. It supports ``__dlpack__``; ``buffer[:rows]`` shares it without a copy.

    A step is ``prepare(batch)``, ``lookup()``, ``apply(gradient, event_ms)``, in this order. ``prepare`` of the next
    batch may come before ``apply`` of this one, since it changes no table. Calls from several threads run one after
    the other. Rows are the same bit for bit whatever ``threads`` is.

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
        self.tables = tuple(tables)
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
        self._group = _core.Group(
            tables=[_core_table(table) for table in self.tables],
            columns=[
                _core.ColumnSettings(column.name, self._table(column.table), _core.Combiner[column.combiner])
                for column in self.columns
            ],
            numbers=numbers,
            max_batch=max_batch,
            threads=threads,
            trainable=trainable,
        )
        names = [column.name for column in self.columns]
        self.offsets: Mapping[str, int] = MappingProxyType(dict(zip(names, self._group.offsets(), strict=True)))
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
        self._group.prepare(batch.rows, batch.ids, batch.splits, batch.numbers)

    def lookup(self) -> int:
        """Creates missing rows and fills ``buffer[:rows]`` for the prepared batch; returns ``rows``.

        Raises:
            ValueError: No batch is prepared.
            MemoryError: No room for the new rows; no table was changed and the batch is still prepared.
        """
        return self._group.lookup()

    def apply(self, gradient: NDArray[np.float32], event_ms: int) -> None:
        """One optimizer step for the rows of the last lookup.

        Gradients are summed per unique key (in column, then batch order) before the one update of its row, which also
        adds the key's occurrences to its frequency and raises its last-seen to ``event_ms``.

        Args:
            gradient: float32 [rows, stride], of the loss by ``buffer[:rows]``; numbers and padding are ignored.
            event_ms: Event time of the batch, ms since 1970.

        Raises:
            ValueError: No lookup before it, or a gradient that does not fit or is not finite; no row changed.
            MemoryError: No room for the marks; no row changed.
        """
        self._group.apply(gradient, event_ms)

    def capture(self) -> list[TableRows]:
        """Rows touched and keys erased since the last capture, one entry per table in table order.

        Rows stand in the order in which they were first touched, tombstones in ascending order. The time is
        proportional to what changed. A row that was only looked up is not in it: it still has its initial values.

        Raises:
            MemoryError: No room for the copy; nothing was forgotten.
        """
        captured = self._group.capture()
        return [TableRows(table.name, *block) for table, block in zip(self.tables, captured, strict=True)]

    def put_back(self, rows: Iterable[TableRows]) -> None:
        """Marks the keys of an abandoned capture as changed again; the next capture reads their values of then.

        Raises:
            KeyError: An unknown table.
        """
        for block in rows:
            self._group.put_back(self._table(block.table), block.keys, block.tombstones)

    def export(self, name: str) -> TableRows:
        """All rows of a table, by row number; forgets no mark.

        Raises:
            KeyError: An unknown table.
        """
        return TableRows(name, *self._group.export_rows(self._table(name)))

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
        self._group.import_rows(
            position,
            np.ascontiguousarray(rows.keys),
            np.ascontiguousarray(rows.values),
            np.ascontiguousarray(rows.slots),
            np.ascontiguousarray(rows.frequency),
            np.ascontiguousarray(rows.last_seen),
            np.ascontiguousarray(rows.tombstones),
        )

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

    def row_count(self, name: str) -> int:
        """Rows in a table.

        Raises:
            KeyError: An unknown table.
        """
        return self._group.row_count(self._table(name))

    def memory_bytes(self) -> int:
        """Bytes behind rows, indices and the buffer; scratch space of a batch is not counted."""
        return self._group.memory_bytes()

    def slot_width(self, name: str) -> int:
        """Floats of optimizer state per row; 0 where not trainable.

        Raises:
            KeyError: An unknown table.
        """
        return self._group.slot_width(self._table(name))

    def _table(self, name: str) -> int:
        try:
            return self._position[name]
        except KeyError:
            known = ", ".join(self._position) or "none"
            raise KeyError(f"unknown table {name!r}; there are: {known}") from None


class TableReader:
    """Answers batches with a buffer of its own; several readers may run on several threads while nobody writes.

    A key without a row reads as the initial row that the learner would give it.
    """

    def __init__(self, group: _core.Group) -> None:
        self._reader = _core.Reader(group)
        self._buffer = self._reader.buffer()

    def lookup(self, batch: EncodedBatch) -> NDArray[np.float32]:
        """Rows of ``batch``, float32 [rows, stride]: a view of this reader's buffer, valid until its next lookup.

        Raises:
            ValueError: Sizes do not fit, or a number is not finite.
        """
        rows = self._reader.lookup(batch.rows, batch.ids, batch.splits, batch.numbers)
        return self._buffer[:rows]

    @property
    def absent(self) -> int:
        """Unique keys of the last lookup that had no row."""
        return self._reader.absent()
