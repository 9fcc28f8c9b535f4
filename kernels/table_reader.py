"""Answers batches from tables that it never changes; must not know who fills those."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels import _core
from kernels.batch import EncodedBatch
from kernels.snapshot import Snapshot


class RowHalves:
    """A row of a table's layout in two: the floats that all rows of a batch have in common, and the others.

    Attributes:
        own_width: Floats of a row that differ from row to row, padding included.
        shared_width: The others.
    """

    def __init__(self, group: _core.Group, shared: NDArray[np.int64]) -> None:
        """``shared``: which floats, int64 [s]. Raises ValueError where an id column is shared in part."""
        self.core = _core.Halves(group, np.ascontiguousarray(shared, np.int64))
        self.own_width: int = self.core.own_width
        self.shared_width: int = self.core.shared_width


class TableReader:
    """Answers batches with a buffer of its own; several readers may run on several threads while nobody writes.

    A key without a row reads as the initial row that the learner would give it; where its table's admission is not
    ``always``, as its shared row or, without adaptive rows, as ``not_admitted``.
    """

    def __init__(self, group: _core.Group) -> None:
        self._reader = _core.Reader(group)
        self._buffer = self._reader.buffer()

    def lookup(self, batch: EncodedBatch, snapshot: Snapshot | None = None) -> NDArray[np.float32]:
        """Rows of ``batch``, float32 [rows, stride]: a view of this reader's buffer, valid until its next lookup.

        Args:
            batch: What is asked for.
            snapshot: Whose rows; those of the reader's own tables where None.

        Raises:
            ValueError: Sizes do not fit, or a number is not finite.
        """
        of = None if snapshot is None else snapshot.core
        rows = self._reader.lookup(batch.rows, batch.ids, batch.splits, batch.weights, batch.numbers, of)
        return self._buffer[:rows]

    def lookup_halves(
        self,
        batch: EncodedBatch,
        snapshot: Snapshot,
        halves: RowHalves,
        own: NDArray[np.float32],
        shared: NDArray[np.float32],
    ) -> None:
        """Rows of ``batch`` in halves, straight to where they are wanted.

        Args:
            batch: What is asked for; ids may stand in whatever has a buffer of them. Its weights are not looked at.
            snapshot: Whose rows.
            halves: Which floats of a row all rows have in common; of those the first row's decide.
            own: Filled with the others, [rows, halves.own_width].
            shared: Filled with those, [halves.shared_width].

        Raises:
            ValueError: Sizes do not fit, ids are no int64, or a number is not finite.
        """
        self._reader.lookup_halves(
            batch.rows, list(batch.ids), batch.splits, batch.numbers, snapshot.core, halves.core, own, shared
        )

    @property
    def absent(self) -> int:
        """Unique keys of the last lookup that had no row."""
        return self._reader.absent()
