"""Keeps the page's figures across restarts, finer for the newest; knows SQLite, not what a series means."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from infra.errors import Corrupt, Invalid

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
DAY: Final = 24 * 60 * MINUTE
# Spans of the stored points and how long each is kept.
FINE, FINE_KEPT = SECOND, 60 * MINUTE
MIDDLE, MIDDLE_KEPT = 10 * SECOND, DAY
COARSE, COARSE_KEPT = 5 * MINUTE, 30 * DAY
# Fine points outlive their hour a little, so that a late roll-up still finds them.
SLACK: Final = 10 * MINUTE
# Most points of one series in an answer, and the spans that people read easily.
POINTS: Final = 720
STEPS: Final = tuple(s * SECOND for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 86400))

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


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for the strip below the charts."""

    id: int
    t: int
    kind: str
    text: str


@dataclass(frozen=True)
class Range:
    """Series over one span of time.

    Args:
        start: Time of the first point, milliseconds.
        step: Span of one point, milliseconds.
        series: Per name ``mean`` and ``max``, lists of one length; None where nothing was measured. Above
            :data:`MIDDLE_KEPT` also ``p99``, the worst one within each point.
    """

    start: int
    step: int
    series: Mapping[str, Mapping[str, list[float | None]]]


class History:
    """One file. One instance writes, from one thread; :meth:`reader` serves any number of threads.

    Raises:
        Invalid: The file cannot be opened, or was written by another program.
        Corrupt: The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._translated("dashboard.history cannot be opened"):
                self._db = _connect(path)
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

    def record(self, t: int, values: Mapping[str, float]) -> None:
        """Stores one tick; values that are not finite are left out.

        Args:
            t: Milliseconds; a second tick of the same second replaces the first.
            values: The figure of each series.
        """
        second = t - t % FINE
        with self._translated(), self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO fine VALUES (?, ?, ?)",
                [(self._id(name), second, float(value)) for name, value in values.items() if math.isfinite(value)],
            )
            self._roll_up(second)

    def add_event(self, t: int, kind: str, text: str) -> Event:
        """Stores one event."""
        with self._translated(), self._db:
            cursor = self._db.execute("INSERT INTO events (t, kind, text) VALUES (?, ?, ?)", (t, kind, text))
        return Event(int(cursor.lastrowid or 0), t, kind, text)

    def put_quality(
        self, buckets: Iterable[tuple[int, int, bytes]], *, drop: Iterable[tuple[int, int]], meta: tuple[str, str]
    ) -> None:
        """Replaces the sums of ``(start, span)`` buckets, removes ``drop``, notes how far they reach; all or none."""
        with self._translated(), self._db:
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
            with self._translated(), self._db:
                self._db.execute("DELETE FROM quality")
                self._db.execute("DELETE FROM meta WHERE name = 'quality_through'")
            self.set_meta("line", line)
        return known not in (None, line)

    def set_meta(self, name: str, value: str) -> None:
        """Keeps a value beside the series."""
        with self._translated(), self._db:
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
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (f"rolled_{name}",)).fetchone()
            done = int(row[0]) if row else None
            until = now - now % span
            if done is None:
                done = until
            if row is None or until > done:
                self._close(name, done, until, span)
                self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"rolled_{name}", str(until)))
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


class HistoryReader:
    """Answers questions about the file of a :class:`History`; opens it anew for each, so any thread may ask."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def range(self, from_ms: int, to_ms: int, points: int = POINTS) -> Range:
        """Every series from ``from_ms`` to before ``to_ms`` in at most ``points`` points of an easy span."""
        step = next((s for s in STEPS if (to_ms - from_ms) <= s * points), STEPS[-1])
        table, span = "coarse", COARSE
        if to_ms - from_ms <= FINE_KEPT:
            table, span = "fine", FINE
        elif to_ms - from_ms <= MIDDLE_KEPT:
            table, span = "middle", MIDDLE
        step = max(step, span)
        start, end = from_ms - from_ms % step, to_ms
        length = max(1, -(-(end - start) // step))
        worst = ", p99" if table == "coarse" else ""
        columns = "value, value" if table == "fine" else f"mean, max{worst}"
        query = f"SELECT series, t, {columns} FROM {table} WHERE t >= :start AND t < :end"
        if table != "fine":  # the newest span has not ended yet
            tail = "value, value" + (", value" if worst else "")
            query += (
                f" UNION ALL SELECT series, t, {tail} FROM fine WHERE t >= max(:start, "
                f"coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'rolled_{table}'), 0)) AND t < :end"
            )
        aggregates = "avg(mean), max(max)" + (", max(p99)" if worst else "")
        names = ("mean", "max", "p99") if worst else ("mean", "max")
        series: dict[str, dict[str, list[float | None]]] = {}
        with closing(_connect(self._path)) as db:
            for name, index, *values in db.execute(
                f"WITH points (series, t, mean, max{worst}) AS ({query}) "
                f"SELECT name, (t - :start) / :step, {aggregates} "
                "FROM points JOIN series ON series.id = points.series GROUP BY 1, 2",
                {"start": start, "end": end, "step": step},
            ):
                found = series.setdefault(name, {kind: [None] * length for kind in names})
                for kind, value in zip(names, values, strict=True):
                    found[kind][index] = round(value, 4)
        return Range(start, step, series)

    def events(self, from_ms: int = 0, limit: int = 200) -> list[Event]:
        """The newest events not older than ``from_ms``, oldest first."""
        with closing(_connect(self._path)) as db:
            rows = db.execute(
                "SELECT id, t, kind, text FROM events WHERE t >= ? ORDER BY id DESC LIMIT ?", (from_ms, limit)
            )
            return [Event(*row) for row in rows][::-1]


def quantile(ascending: list[float], share: float) -> float:
    """The smallest value that at least ``share`` of ``ascending`` do not exceed.

    Raises:
        ValueError: There are no values.
    """
    if not ascending:
        raise ValueError("no values")
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def as_json(value: Any) -> bytes:
    """One form of JSON for everything that the page sends."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=5.0, isolation_level="DEFERRED", check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    return db
