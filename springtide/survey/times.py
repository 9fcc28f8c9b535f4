"""Which columns of a topic are times, and in which unit; knows values, not what happened then."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from infra.errors import Invalid
from springtide.survey.columns import Column, Table

Unit = Literal["iso8601", "s", "ms", "us"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# As the decoder of events takes it (`IsoTime.java`).
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?Z")
_OTHER_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}.*)?")
# 1990 to 2100: in seconds, milliseconds and microseconds these ranges do not meet.
_EARLIEST_S: Final = 631_152_000
_LATEST_S: Final = 4_102_444_800
_PER_SECOND: Final[dict[Unit, int]] = {"s": 1, "ms": 1000, "us": 1_000_000}
NAMES: Final[dict[Unit, str]] = {"iso8601": "ISO-8601", "s": "seconds", "ms": "milliseconds", "us": "microseconds"}
# Some events may come without a time, and are dead letters then.
_MOST: Final = 0.95


@dataclass(frozen=True)
class TimeColumn:
    """A column of times.

    Attributes:
        path: The column.
        unit: Its unit.
        moments: Message number -> ms since 1970.
        behind_ms: Kafka's timestamp less the time, median; None where Kafka has no timestamps.
    """

    path: str
    unit: Unit
    moments: dict[int, float]
    behind_ms: float | None


def time_columns(table: Table) -> list[TimeColumn]:
    """Every column of times, whose unit its values tell; first the one nearest to Kafka's own timestamps."""
    found = [
        TimeColumn(column.path, unit, moments, _behind(table, moments))
        for column in table.columns.values()
        if (unit := unit_of(column)) is not None and (moments := moments_of(column, unit))
    ]
    return sorted(found, key=lambda each: (abs(each.behind_ms or 0), each.path))


def event_time(table: Table) -> TimeColumn:
    """The column that says when an event of the topic happened.

    Raises:
        Invalid: There is none that the join could read.
    """
    for each in time_columns(table):
        if table.columns[each.path].nameable and len(each.moments) >= _MOST * len(table):
            return each
    raise Invalid(
        f"topic `{table.topic}`: no column says when its events happened",
        wanted="in all messages ISO-8601 in UTC, as 2026-11-27T06:00:00.125Z, or a number of s, ms or µs since 1970",
        cure=_hint(table),
    )


def unit_of(column: Column) -> Unit | None:
    """The unit of a column of times; None for any other column."""
    values = [value for _, value in column.values]
    if not values:
        return None
    for unit in _PER_SECOND:
        if all(_is_number(value, unit) for value in values):
            return unit
    return "iso8601" if all(isinstance(value, str) and _ISO.fullmatch(value) for value in values) else None


def looks_like_time(column: Column) -> bool:
    """Whether its values are times in any form, readable or not."""
    values = [value for _, value in column.values]
    others = all(isinstance(value, str) and _OTHER_ISO.fullmatch(value) for value in values)
    return bool(values) and (unit_of(column) is not None or others or _nanoseconds(values))


def _is_number(value: Any, unit: Unit) -> bool:
    factor = _PER_SECOND[unit]
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and _EARLIEST_S * factor <= value <= _LATEST_S * factor


def moments_of(column: Column, unit: Unit) -> dict[int, float]:
    """Message number -> ms since 1970, of values in ``unit``."""
    if unit != "iso8601":
        return {number: value * 1000 / _PER_SECOND[unit] for number, value in column.values}
    found = {}
    for number, value in column.values:
        try:
            # In whole microseconds: seconds as a float lose the last of them.
            found[number] = (datetime.fromisoformat(value[:-1] + "+00:00") - _EPOCH) // _MICROSECOND / 1000
        except ValueError:  # the 30th of February
            continue
    return found


def _behind(table: Table, moments: dict[int, float]) -> float | None:
    known = [table.messages[number].received_ms - moment for number, moment in moments.items()]
    known = [each for number, each in zip(moments, known, strict=True) if table.messages[number].received_ms >= 0]
    return statistics.median(known) if known else None


def _nanoseconds(values: list[Any]) -> bool:
    return all(
        isinstance(value, int) and not isinstance(value, bool) and _EARLIEST_S <= value / 1e9 <= _LATEST_S
        for value in values
    )


def _hint(table: Table) -> str:
    """What is nearly a time, and why it is none."""
    for column in table.columns.values():
        values = [value for _, value in column.values]
        if _nanoseconds(values):
            return f"`{column.path}` is in nanoseconds: write it in microseconds"
        if looks_like_time(column):
            if not column.nameable:
                return f"write `{column.path}` at the top of the message, with a name of letters, digits and `_`"
            if unit_of(column) is None:
                return f"`{column.path}` is a time, but not in UTC with a `Z` at its end: write it so"
            return f"`{column.path}` is in {len(values):,} of {len(table):,} messages only: write it into all"
    return "write the time of the event into each message"
