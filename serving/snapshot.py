"""One version ready to answer, and the switch between versions; must not know how versions arrive or who asks.

There are two sets of tables. Readers use one of them; the follower extends the other, which nobody reads, then
publishes one reference: all tables, the dense program and the statistics change together, and no reader ever waits.
Once the last reader has left the older set, it catches up. The price is the memory of a second set.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from infra.clock import Clock
from infra.errors import Unavailable
from kernels.rows import TableRows
from kernels.running_statistics import RunningStatistics
from kernels.tables import EmbeddingTables, TableReader
from serving.dense_program import DenseProgram

TablesFactory = Callable[[], EmbeddingTables]

# A reader needs milliseconds; one that has not left by then is told about, and the next version waits for it.
LEAVE_WITHIN_S = 5.0


@dataclass(frozen=True)
class Version:
    """What a version brings beside its rows.

    Attributes:
        number: The version's number.
        program: Its dense program with its weights.
        statistics: What scales its numbers.
        committed_ts: When it was committed, milliseconds.
    """

    number: int
    program: DenseProgram
    statistics: RunningStatistics
    committed_ts: int


@dataclass
class _Side:
    """One of the two sets of tables, and what it still has to catch up with: (replaces all, rows)."""

    tables: EmbeddingTables
    behind: deque[tuple[bool, Sequence[TableRows]]] = field(default_factory=deque)
    idle_readers: deque[TableReader] = field(default_factory=deque)


class Snapshot:
    """All tables and the dense program of one version, unchanged for as long as anyone reads it."""

    def __init__(self, version: Version, side: _Side) -> None:
        self.version = version
        self._side = side
        self._tables = side.tables
        self._idle_readers = side.idle_readers
        # Keys are tickets. Setting and deleting one are single operations, so no lock is needed.
        self._inside: dict[int, None] = {}
        self._retired = False
        self._empty = threading.Event()

    @contextmanager
    def reader(self) -> Iterator[TableReader]:
        """A reader of this snapshot's tables, for one thread; only within :meth:`Switch.read`."""
        try:
            reader = self._idle_readers.pop()
        except IndexError:
            reader = self._tables.reader()
        try:
            yield reader
        finally:
            self._idle_readers.append(reader)

    def _enter(self, ticket: int) -> None:
        self._inside[ticket] = None

    def _leave(self, ticket: int) -> None:
        del self._inside[ticket]
        if self._retired and not self._inside:
            self._empty.set()

    def _await_last_reader(self, clock: Clock) -> bool:
        # Retired first: a reader that leaves after this line sets the event, one that left before is not inside.
        self._retired = True
        return not self._inside or clock.wait(self._empty, LEAVE_WITHIN_S) or not self._inside


class Switch:
    """The one place where the version that answers changes. Many threads read, one thread publishes."""

    def __init__(self, tables_factory: TablesFactory, clock: Clock) -> None:
        """Makes both sets of tables, empty.

        Args:
            tables_factory: Makes empty tables that are not trainable.
            clock: Passes the time while the last readers of a set leave it.
        """
        self._factory = tables_factory
        self._clock = clock
        self._idle = _Side(tables_factory())
        self._busy = _Side(tables_factory())
        self._current: Snapshot | None = None
        self._retired: Snapshot | None = None
        self._tickets = itertools.count()

    @property
    def tables(self) -> EmbeddingTables:
        """The tables that are not being read, for their layout."""
        return self._idle.tables

    @property
    def version(self) -> Version | None:
        """The version that answers; None before the first."""
        current = self._current
        return None if current is None else current.version

    @contextmanager
    def read(self) -> Iterator[Snapshot]:
        """The newest snapshot, which stays as it is until the caller leaves; never waits for the follower.

        Raises:
            Unavailable: No version was published yet.
        """
        ticket = next(self._tickets)
        while True:
            snapshot = self._current
            if snapshot is None:
                raise Unavailable("no version applied yet", cure="wait until the learner has committed its first one")
            snapshot._enter(ticket)
            if self._current is snapshot:
                break
            # A switch came between; its publisher may have seen the snapshot empty, so nothing was read from it.
            snapshot._leave(ticket)
        try:
            yield snapshot
        finally:
            snapshot._leave(ticket)

    def publish(self, version: Version, rows: Sequence[TableRows], *, replaces_all: bool) -> None:
        """Extends the idle tables to ``version`` and lets it answer from then on.

        Args:
            version: What the version brings beside its rows.
            rows: Rows and tombstones, at most one entry per table.
            replaces_all: Whether these rows are all there are, or what changed since the version before.

        Raises:
            Unavailable: The last reader of the idle tables does not leave.
            KeyError: A table is unknown. As with the others below, the version before goes on answering; only rows
                that replace all may follow.
            ValueError: Rows do not fit their table.
            MemoryError: There is no room.
        """
        self.settle()
        _extend(self._idle, replaces_all, rows, self._factory)
        before, self._current = self._current, Snapshot(version, self._idle)
        self._idle, self._busy = self._busy, self._idle
        self._retired = before
        if replaces_all:
            self._idle.behind.clear()
        self._idle.behind.append((replaces_all, rows))

    def settle(self) -> None:
        """Lets the idle tables catch up with those that answer, once their last reader has left.

        Raises:
            Unavailable: A reader does not leave.
            MemoryError: There is no room; the next call tries again.
        """
        if self._retired is not None:
            if not self._retired._await_last_reader(self._clock):
                raise Unavailable(
                    f"a request still reads version {self._retired.version.number}",
                    wanted=f"every answer within {LEAVE_WITHIN_S} s",
                )
            self._retired = None
        while self._idle.behind:
            replaces_all, rows = self._idle.behind[0]
            _extend(self._idle, replaces_all, rows, self._factory)
            self._idle.behind.popleft()

    def row_counts(self) -> dict[str, int]:
        """Rows per table of the set that answers; call it from the publishing thread."""
        tables = self._busy.tables
        return {table.name: tables.row_count(table.name) for table in tables.tables}

    def memory_bytes(self) -> int:
        """Bytes of both sets of tables; call it from the publishing thread."""
        return self._idle.tables.memory_bytes() + self._busy.tables.memory_bytes()


def _extend(side: _Side, replaces_all: bool, rows: Sequence[TableRows], factory: TablesFactory) -> None:
    if replaces_all:
        side.tables = factory()
        side.idle_readers = deque()
    for block in rows:
        side.tables.import_rows(block)
