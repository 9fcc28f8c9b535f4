"""Answers batches from tables that it never changes; must not know who fills those."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels import _core
from kernels.batch import EncodedBatch
from kernels.snapshot import Snapshot


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

    @property
    def absent(self) -> int:
        """Unique keys of the last lookup that had no row."""
        return self._reader.absent()
