"""Answers questions about the page's figures of the past; knows the layout of their file, but never writes it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

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
        with closing(connect(self._path)) as db:
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
        with closing(connect(self._path)) as db:
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


def connect(path: Path) -> sqlite3.Connection:
    """The file, opened as everybody opens it."""
    db = sqlite3.connect(path, timeout=5.0, isolation_level="DEFERRED", check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    return db
