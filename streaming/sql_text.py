"""How names, texts and spans of time are written in Flink SQL; must not know a table or a topic."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Mapping

from infra.errors import Invalid
from infra.units import Duration

_JSON_OBJECT = "`springtide_json`"
_NEIGHBOURS = "`springtide_neighbours`"
# What :func:`json_object` and :func:`neighbours` call, to be defined before any view.
FUNCTIONS = (
    f"CREATE TEMPORARY SYSTEM FUNCTION {_JSON_OBJECT} AS 'springtide.events.JsonObject'",
    f"CREATE TEMPORARY SYSTEM FUNCTION {_NEIGHBOURS} AS 'springtide.events.Neighbours'",
)
# Flink's intervals have three digits for the days.
_LONGEST = Duration("999d")


def identifier(name: str) -> str:
    """``name`` as a quoted identifier: no name is a keyword then, and none ends early."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """``text`` as a string literal; Flink knows no escape but the doubled quote."""
    return "'" + text.replace("'", "''") + "'"


def interval(span: Duration) -> str:
    """``span`` as an interval literal, exact to the millisecond.

    Raises:
        Invalid: Longer than Flink's intervals can be.
    """
    if span.ms > _LONGEST.ms:
        raise Invalid(f"the duration {span} is too long for Flink", wanted=f"at most {_LONGEST}")
    seconds, milliseconds = divmod(span.ms, 1000)
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    return f"INTERVAL '{days} {hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}' DAY(3) TO SECOND(3)"


def rounded_down(moment: str, step: Duration) -> str:
    """``moment``, a time, or the last multiple of ``step`` before it; ``step`` divides a second."""
    if step.ms <= 1:
        return moment
    return f"{moment} - CAST(MOD(EXTRACT(MILLISECOND FROM {moment}), {step.ms}) AS INT) * INTERVAL '0.001' SECOND(1, 3)"


def options(values: Mapping[str, str]) -> str:
    """The list behind WITH."""
    return ",\n  ".join(f"{literal(key)} = {literal(value)}" for key, value in values.items())


def create_table(name: str, columns: Iterable[str], values: Mapping[str, str]) -> str:
    """A table over a connector, from column definitions and connector options."""
    body = ",\n  ".join(columns)
    return f"CREATE TEMPORARY TABLE {identifier(name)} (\n  {body}\n) WITH (\n  {options(values)}\n)"


def create_view(name: str, query: str) -> str:
    """A named query."""
    return f"CREATE TEMPORARY VIEW {identifier(name)} AS\n{query}"


def keep_first(source: str, columns: Iterable[str], partition: Iterable[str], order: str = "#arrival") -> str:
    """The first row per ``partition`` in the order of time; planned as an insert-only de-duplication.

    Args:
        source: What stands behind FROM.
        columns: Names of the columns wanted.
        partition: Names of the columns that say which rows are the same.
        order: Name of the column that holds the time. By processing time a row leaves at once, by event time when the
            watermark has passed it.
    """
    wanted = ", ".join(map(identifier, columns))
    same = ", ".join(map(identifier, partition))
    return (
        f"SELECT {wanted} FROM (\n"
        f"  SELECT *, ROW_NUMBER() OVER (PARTITION BY {same} ORDER BY {identifier(order)}) AS `#row`\n"
        f"  FROM {source}\n) WHERE `#row` = 1"
    )


def neighbours(time: str, over: str) -> str:
    """A row of two times, `below` and `above`: the nearest that came before; see `Neighbours.java`."""
    return f"{_NEIGHBOURS}({time}) {over}"


def json_object(pairs: Iterable[tuple[str, str]]) -> str:
    """One flat JSON object as a string, from pairs of a name and an expression; see `JsonObject.java`.

    Nulls are written out, times as ISO-8601 in UTC with milliseconds, bytes in base64.
    """
    body = ",\n    ".join(f"{literal(name)}, {expression}" for name, expression in pairs)
    return f"{_JSON_OBJECT}(\n    {body})"
