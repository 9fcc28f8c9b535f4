"""How a step reads and updates rows: at once, or one step late beside the next; must not know samples or the model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kernels.tables import EmbeddingTables, EncodedBatch

Floats = npt.NDArray[np.float32]


class RowAccess(Protocol):
    """A step is :meth:`lookup`, then :meth:`apply`, or nothing where its gradient is of no use."""

    def lookup(self, batch: EncodedBatch) -> Floats:
        """The rows of ``batch``, ``[rows, stride]``, aligned to 64 bytes and valid until the next lookup."""

    def apply(self, gradient: Floats, event_ms: int) -> None:
        """Takes the gradient of the rows of the last lookup."""

    def drain(self) -> None:
        """Applies what is still to be applied; before anybody else looks at the tables."""


class CurrentRows:
    """Staleness 0: a step reads what the step before it has written."""

    def __init__(self, tables: EmbeddingTables) -> None:
        self._tables = tables

    def lookup(self, batch: EncodedBatch) -> Floats:
        self._tables.prepare(batch)
        return self._tables.buffer[: self._tables.lookup()]

    def apply(self, gradient: Floats, event_ms: int) -> None:
        self._tables.apply(gradient, event_ms)

    def drain(self) -> None:
        """Nothing is ever left."""


@dataclass(frozen=True)
class _Update:
    batch: EncodedBatch
    gradient: Floats
    event_ms: int


class LateRows:
    """Staleness 1: a step reads rows that the step before it has not updated yet; both then run side by side.

    The order is fixed, whatever the threads do: lookup t, apply t - 1, lookup t + 1, so that a replay with the same
    drains ends in the same bits. A step t sees the updates of all steps up to t - 2.

    Args:
        tables: The rows, trainable.
    """

    def __init__(self, tables: EmbeddingTables) -> None:
        self._tables = tables
        self._reader = tables.reader()
        self._worker = ThreadPoolExecutor(1, "rows")
        self._read: EncodedBatch | None = None
        self._waiting: _Update | None = None
        self._running: Future[None] | None = None

    def lookup(self, batch: EncodedBatch) -> Floats:
        self._finish()
        rows = self._reader.lookup(batch)
        self._read = batch
        if self._waiting is not None:
            update, self._waiting = self._waiting, None
            self._running = self._worker.submit(self._update, update)
        return rows

    def apply(self, gradient: Floats, event_ms: int) -> None:
        self._finish()
        assert self._read is not None
        # The gradient is a view of memory that the next step may use again.
        self._waiting = _Update(self._read, np.array(gradient), event_ms)

    def drain(self) -> None:
        self._finish()
        if self._waiting is not None:
            update, self._waiting = self._waiting, None
            self._update(update)

    def _finish(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            running.result()

    def _update(self, update: _Update) -> None:
        self._tables.prepare(update.batch)
        self._tables.lookup()
        self._tables.apply(update.gradient, update.event_ms)


def row_access(tables: EmbeddingTables, staleness: int) -> RowAccess:
    """Access with ``staleness`` 0 or 1."""
    return LateRows(tables) if staleness else CurrentRows(tables)
