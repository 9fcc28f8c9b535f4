"""Which attributes of an event are read and what columns come of them, for the decoder and SQL; knows no encoding."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from infra import spec

KEY: Final = "#key"
TIME: Final = "#ts"
WEIGHT: Final = "#weight"
WHEN: Final = "#when"

_SQL_TYPES: Final[Mapping[str, str]] = {
    "STRING": "STRING",
    "INTEGER": "BIGINT",
    "NUMBER": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "STRINGS": "ARRAY<STRING>",
    "INTEGERS": "ARRAY<BIGINT>",
}
_MOMENT: Final = "TIMESTAMP_LTZ(3)"
_FIELD_TYPES: Final[Mapping[str, str]] = {
    "string": "STRING",
    "integer": "INTEGER",
    "number": "NUMBER",
    "boolean": "BOOLEAN",
    "list[string]": "STRINGS",
    "list[integer]": "INTEGERS",
}
_TIME_UNITS: Final[Mapping[str, str]] = {
    "iso8601": "ISO8601",
    "s": "SECONDS",
    "ms": "MILLISECONDS",
    "us": "MICROSECONDS",
}


class EventColumn(NamedTuple):
    """One attribute as a column.

    Attributes:
        name: The column: a field's name, or :data:`KEY`, :data:`TIME`, :data:`WEIGHT`, :data:`WHEN`.
        path: Where the attribute lies in the event, names with dots.
        type: How the decoder reads it; see `ColumnType.java`.
    """

    name: str
    path: str
    type: str

    @property
    def sql_type(self) -> str:
        """What it is in SQL."""
        return _SQL_TYPES.get(self.type, _MOMENT)


def event_columns(
    topic: spec.Topic,
    fields: tuple[spec.EventField, ...] = (),
    weight: str | None = None,
    when: spec.Condition | None = None,
) -> tuple[EventColumn, ...]:
    """The columns of one topic; one attribute may become several.

    Args:
        topic: The topic.
        fields: The attributes to read, beside key and time.
        weight: The attribute that holds the weight, if any.
        when: Which events are meant, if not all.
    """
    found = [EventColumn(KEY, topic.key, "STRING"), EventColumn(TIME, topic.time, _TIME_UNITS[topic.time_unit])]
    found += [EventColumn(field.name, field.path or field.name, _FIELD_TYPES[field.type]) for field in fields]
    if weight is not None:
        found.append(EventColumn(WEIGHT, weight, "NUMBER"))
    if when is not None:
        found.append(EventColumn(WHEN, when.field, "STRING" if when.equals is not None else "NUMBER"))
    return tuple(found)


def columns_of(topic: spec.Topic) -> tuple[EventColumn, ...]:
    """All columns that a pipeline wants of one of its topics."""
    if isinstance(topic, spec.Impressions):
        return event_columns(topic, topic.fields, topic.weight)
    return event_columns(topic, when=topic.when if isinstance(topic, spec.Feedback) else None)
