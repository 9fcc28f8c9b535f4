"""Keeps the page's figures across restarts, finer for the newest; knows SQLite, not what a series means."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dashboard.past import (
    COARSE,
    COARSE_KEPT,
    FINE,
    FINE_KEPT,
    MIDDLE,
    MIDDLE_KEPT,
    SLACK,
    Event,
    HistoryReader,
    connect,
    quantile,
)
from infra.errors import Corrupt, Invalid

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS fine (series INTEGER, t INTEGER, value REAL NOT NULL, PRIMARY KEY (series, t)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS middle (series INTEGER, t INTEGER, mean REAL NOT NULL, max REAL NOT NULL,
  PRIMARY KEY (series, t)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS coarse (series INTEGER, t INTEGER, mean REAL NOT NULL, max REAL NOT NULL, p99 REAL NOT NULL,
  PRIMARY KEY (series, t)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, t INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS quality (t INTEGER, span INTEGER, sums BLOB NOT NULL, PRIMARY KEY (span, t)) WITHOUT ROWID;
"""
_LAYOUT = "1"


class History:
    """One file. One instance writes, from one thread; :meth:`reader` serves any number of threads.

    Raises:
        Invalid: The file cannot be opened, or was written by another program.
        Corrupt: The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._apart = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._translated("dashboard.history cannot be opened"):
                self._db = connect(path)
                self._db.executescript(_SCHEMA)
                layout = self.meta("layout")
                if layout not in (None, _LAYOUT):
                    raise Invalid(
                        f"history has layout {layout}",
                        wanted=_LAYOUT,
                        cure="move the file away; quality is read back from the manifests",
                        where=str(path),
                    )
                self.set_meta("layout", _LAYOUT)
        except OSError as error:
            raise Invalid(
                f"dashboard.history: {error}", wanted="a file that can be written", where=str(path)
            ) from error
        self._ids: dict[str, int] = dict(self._db.execute("SELECT name, id FROM series"))
        self._rolled = {name: int(done) for name in ("middle", "coarse") if (done := self.meta(f"rolled_{name}"))}

    def record(self, t: int, values: Mapping[str, float]) -> None:
        """Stores one tick; values that are not finite are left out.

        Args:
            t: Milliseconds; a second tick of the same second replaces the first.
            values: The figure of each series.
        """
        second = t - t % FINE
        with self._writing():
            self._db.executemany(
                "INSERT OR REPLACE INTO fine VALUES (?, ?, ?)",
                [(self._id(name), second, float(value)) for name, value in values.items() if math.isfinite(value)],
            )
            self._roll_up(second)

    def add_event(self, t: int, kind: str, text: str) -> Event:
        """Stores one event."""
        with self._writing():
            cursor = self._db.execute("INSERT INTO events (t, kind, text) VALUES (?, ?, ?)", (t, kind, text))
        return Event(int(cursor.lastrowid or 0), t, kind, text)

    def put_quality(
        self, buckets: Iterable[tuple[int, int, bytes]], *, drop: Iterable[tuple[int, int]], meta: tuple[str, str]
    ) -> None:
        """Replaces the sums of ``(start, span)`` buckets, removes ``drop``, notes how far they reach; all or none."""
        with self._writing():
            self._db.executemany("INSERT OR REPLACE INTO quality (t, span, sums) VALUES (?, ?, ?)", list(buckets))
            self._db.executemany("DELETE FROM quality WHERE t = ? AND span = ?", list(drop))
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta)

    def quality(self, span: int, from_ms: int = 0) -> list[tuple[int, bytes]]:
        """The stored sums of one span, oldest first."""
        with self._translated():
            rows = self._db.execute("SELECT t, sums FROM quality WHERE span = ? AND t >= ? ORDER BY t", (span, from_ms))
            return [(int(t), bytes(sums)) for t, sums in rows]

    def meta(self, name: str) -> str | None:
        """A value kept beside the series."""
        with self._translated():
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def begin_line(self, line: str) -> bool:
        """Drops the quality of another line of versions, as after the store was made anew.

        Returns:
            Whether there was one.
        """
        known = self.meta("line")
        if known != line:
            with self._writing():
                self._db.execute("DELETE FROM quality")
                self._db.execute("DELETE FROM meta WHERE name = 'quality_through'")
            self.set_meta("line", line)
        return known not in (None, line)

    def set_meta(self, name: str, value: str) -> None:
        """Keeps a value beside the series."""
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def reader(self) -> HistoryReader:
        """A reader of the same file."""
        return HistoryReader(self.path)

    def close(self) -> None:
        """Ends writing; every finished tick is in the file."""
        self._db.close()

    def _id(self, name: str) -> int:
        found = self._ids.get(name)
        if found is None:
            found = int(self._db.execute("INSERT INTO series (name) VALUES (?)", (name,)).lastrowid or 0)
            self._ids[name] = found
        return found

    def _roll_up(self, now: int) -> None:
        """Closes the spans that have ended, from where the last roll-up stopped: a restart loses nothing."""
        for name, span in (("middle", MIDDLE), ("coarse", COARSE)):
            until = now - now % span
            done = self._rolled.get(name)
            if done is None or until > done:
                self._close(name, until if done is None else done, until, span)
                self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"rolled_{name}", str(until)))
                self._rolled[name] = until
                if name == "coarse":
                    self._forget(now)

    def _close(self, name: str, start: int, end: int, span: int) -> None:
        if name == "middle":
            self._db.execute(
                "INSERT OR REPLACE INTO middle SELECT series, t - t % ?, avg(value), max(value) FROM fine "
                "WHERE t >= ? AND t < ? GROUP BY 1, 2",
                (span, start, end),
            )
            return
        values: dict[tuple[int, int], list[float]] = {}
        for series, t, value in self._db.execute(
            "SELECT series, t - t % ?, value FROM fine WHERE t >= ? AND t < ? ORDER BY value", (span, start, end)
        ):
            values.setdefault((series, t), []).append(value)
        self._db.executemany(
            "INSERT OR REPLACE INTO coarse VALUES (?, ?, ?, ?, ?)",
            [(*place, sum(v) / len(v), v[-1], quantile(v, 0.99)) for place, v in values.items()],
        )

    def _forget(self, now: int) -> None:
        self._db.execute("DELETE FROM fine WHERE t < ?", (now - FINE_KEPT - SLACK,))
        self._db.execute("DELETE FROM middle WHERE t < ?", (now - MIDDLE_KEPT,))
        self._db.execute("DELETE FROM coarse WHERE t < ?", (now - COARSE_KEPT,))
        self._db.execute("DELETE FROM events WHERE t < ?", (now - COARSE_KEPT,))
        self._db.execute("DELETE FROM quality WHERE t < ?", (now - COARSE_KEPT,))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Everything that is written inside comes into the file at once, or not at all."""
        with self._translated(), self._db:
            self._apart = False
            try:
                yield
            finally:
                self._apart = True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._translated():
            if self._apart:
                with self._db:
                    yield
            else:
                yield

    @contextmanager
    def _translated(self, doing: str = "history cannot be written") -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise Invalid(
                f"{doing}: {error}",
                cure="free disk space, or correct its rights",
                where=str(self.path),
            ) from error
        except sqlite3.DatabaseError as error:
            raise Corrupt(f"history is damaged: {error}", cure="move the file away", where=str(self.path)) from error
