"""One version ready to answer, and the switch between versions; must not know how versions arrive or who asks.

A version's rows are a snapshot that never changes. The follower extends the newest one by what a delta holds and
publishes one reference: all tables, the dense program and the statistics change together, and no reader ever waits.
A snapshot's memory goes with the last request that reads it.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol
from weakref import WeakKeyDictionary

from infra.errors import Unavailable
from kernels.rows import TableRows
from kernels.running_statistics import RunningStatistics
from kernels.table_reader import RowHalves
from kernels.tables import EmbeddingTables, Snapshot, TableReader
from serving.program import Program
from serving.shared_rows import Split


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
    program: Program
    statistics: RunningStatistics
    committed_ts: int


@dataclass(frozen=True, eq=False)
class Published:
    """All of one version: what answers a request, from its first row to its last weight."""

    version: Version
    rows: Snapshot


class Versions(Protocol):
    """The versions that can answer, for any number of threads."""

    @property
    def kept(self) -> list[int]:
        """Numbers of the versions that can be read, newest first."""

    def read(self) -> Published:
        """The version that answers, which stays as it is for as long as the caller keeps it; never waits.

        Raises:
            Unavailable: There is none yet.
        """

    def find(self, number: int) -> Published | None:
        """The version of that number, or None where it is not kept.

        Raises:
            Unavailable: There is none at all yet.
        """


class Readers:
    """Readers of any version's rows, one for each thread that looks up now."""

    def __init__(self, tables: EmbeddingTables) -> None:
        self._tables = tables
        # Of threads that do not look up now; a reader's buffer is as large as the largest batch.
        self._idle: deque[TableReader] = deque()
        self._halves: WeakKeyDictionary[Split, RowHalves] = WeakKeyDictionary()

    def halves(self, split: Split) -> RowHalves:
        """How rows are looked up for a program that is split so."""
        found = self._halves.get(split)
        if found is None:
            found = self._halves[split] = self._tables.halves(split.shared)
        return found

    @contextmanager
    def reader(self) -> Iterator[TableReader]:
        """A reader for one thread at a time."""
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = self._tables.reader()
        try:
            yield reader
        finally:
            self._idle.append(reader)


def none_yet() -> Unavailable:
    """Why nothing answers before the first version."""
    return Unavailable("no version applied yet", cure="wait until the learner has committed its first one")


class Switch:
    """The one place where the version that answers changes. Many threads read, one thread publishes."""

    def __init__(
        self, tables: EmbeddingTables, kept: int = 1, announce: Callable[[Published], None] = lambda published: None
    ) -> None:
        """Makes what all versions share: the layout.

        Args:
            tables: Without rows, for their layout.
            kept: How many of the newest versions can be read, the one that answers included.
            announce: Told of each version before it answers here; returns once it answers everywhere else.
        """
        self.tables = tables
        self._current: Published | None = None
        self._kept = kept
        self._announce = announce
        self._earlier: tuple[Published, ...] = ()

    @property
    def kept(self) -> list[int]:
        """Numbers of the versions that can be read, newest first."""
        return [one.version.number for one in self.all()]

    def all(self) -> tuple[Published, ...]:
        """The versions that can be read, newest first."""
        current = self._current
        return () if current is None else (current, *self._earlier)

    @property
    def version(self) -> Version | None:
        """The version that answers; None before the first."""
        current = self._current
        return None if current is None else current.version

    def read(self) -> Published:
        """See :class:`Versions`."""
        current = self._current
        if current is None:
            raise none_yet()
        return current

    def find(self, number: int) -> Published | None:
        """See :class:`Versions`."""
        # In this order: what stops being the newest while this runs is among the earlier ones already.
        current, earlier = self.read(), self._earlier
        return next((one for one in (current, *earlier) if one.version.number == number), None)

    def publish(self, version: Version, rows: Sequence[TableRows], *, replaces_all: bool) -> None:
        """Makes the rows of ``version`` and lets it answer from then on.

        Args:
            version: What the version brings beside its rows.
            rows: Rows and tombstones, at most one entry per table.
            replaces_all: Whether these rows are all there are, or what changed since the version before.

        Raises:
            KeyError: A table is unknown. As with the others below, the version before goes on answering.
            ValueError: Rows do not fit their table.
            MemoryError: There is no room.
            OSError: There is no room for another file in memory.
        """
        if replaces_all or self._current is None:
            made = self.tables.snapshot(rows)
        else:
            made = self._current.rows.extended(rows)
        self._switch_to(Published(version, made))

    def go_back(self, number: int) -> Version:
        """Lets a version answer that is kept here, and returns it; no row is made.

        Raises:
            KeyError: It is not kept.
        """
        kept = next((one for one in self.all() if one.version.number == number), None)
        if kept is None:
            raise KeyError(f"version {number} is not kept; {', '.join(map(str, self.kept)) or 'none'} are")
        self._switch_to(kept)
        return kept.version

    def _switch_to(self, published: Published) -> None:
        self._announce(published)
        # A pin may bring a version that is kept already: it stands once.
        others = [one for one in self.all() if one.version.number != published.version.number]
        self._earlier = tuple(others[: self._kept - 1])
        self._current = published

    def settle(self) -> None:
        """Compacts the rows of the version that answers where that is due, out of the next version's way.

        Raises:
            MemoryError: There is no room; the next call tries again.
            OSError: As in :meth:`publish`.
        """
        current = self._current
        if current is not None and current.rows.compaction_due:
            compacted = replace(current, rows=current.rows.compacted())
            self._announce(compacted)
            self._current = compacted

    def row_counts(self) -> dict[str, int]:
        """Rows per table of the version that answers."""
        current = self._current
        if current is None:
            return {table.name: 0 for table in self.tables.tables}
        return current.rows.row_counts()

    def memory_bytes(self) -> int:
        """Bytes of the rows of the version that answers."""
        current = self._current
        return 0 if current is None else current.rows.memory_bytes()
