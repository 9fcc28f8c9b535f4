"""Which types a schema may have for what a pipeline reads, and how a misfit is told; must not know Avro or Protobuf."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streaming.sql_columns import KEY, TIME, WEIGHT, WHEN, EventColumn

# A moment as a number of milliseconds or microseconds, and one that needs no unit.
IN_MS: Final = "timestamp in ms"
IN_US: Final = "timestamp in us"
MOMENT: Final = "timestamp"

_TAKES: Final[Mapping[str, tuple[str, ...]]] = {
    "STRING": ("string", "integer", "boolean"),
    "INTEGER": ("integer",),
    "NUMBER": ("number", "integer"),
    "BOOLEAN": ("boolean",),
    "STRINGS": ("list[string]", "list[integer]"),
    "INTEGERS": ("list[integer]",),
    "ISO8601": ("string", MOMENT),
    "SECONDS": ("integer", "number"),
    "MILLISECONDS": ("integer", "number", IN_MS),
    "MICROSECONDS": ("integer", "number", IN_US),
}
_UNITS: Final[Mapping[str, str]] = {IN_MS: "ms", IN_US: "us", MOMENT: "iso8601"}


class Absent(Exception):
    """A schema has no such attribute; the argument is the part of the path that it lacks."""


def misfit(column: EventColumn, shapes: frozenset[str]) -> str | None:
    """Why an attribute cannot fill ``column``, in words; None where it can.

    Args:
        column: What is read.
        shapes: What the schema says of the attribute, null left out: names of types as in a pipeline, `object`, or
            one of the moments above.
    """
    takes = _TAKES[column.type]
    if column.name != TIME:
        shapes = frozenset("integer" if shape in {IN_MS, IN_US} else shape for shape in shapes)
    wrong = sorted(shapes - set(takes))
    if not wrong:
        return None
    unit = next((_UNITS[shape] for shape in wrong if shape in _UNITS), None)
    wanted = f"`time_unit: {unit}`" if column.name == TIME and unit is not None else " or ".join(takes)
    return f"`{column.path}` is {' or '.join(wrong)}, wanted for {_purpose(column)}: {wanted}"


def absence(column: EventColumn, lacking: str) -> str:
    """That an attribute is not there, in words; ``lacking`` is the part of its path that is not."""
    inside = f" (there is no `{lacking}`)" if lacking != column.path else ""
    return f"`{column.path}` is missing{inside}, wanted for {_purpose(column)}"


def _purpose(column: EventColumn) -> str:
    known = {KEY: "`key`", TIME: "`time`", WEIGHT: "`weight`", WHEN: "`when`"}
    return known.get(column.name, f"the field `{column.name}`")
