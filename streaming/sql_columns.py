"""Which attributes of an event are read, as which SQL types, and what columns come of them; knows no connector."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from infra import spec
from infra.errors import Invalid
from streaming.sql_text import identifier, literal

SQL_TYPES = {
    "string": "STRING",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "list[string]": "ARRAY<STRING>",
    "list[integer]": "ARRAY<BIGINT>",
}
# What no other type can be read from.
_ALONE = {"TIMESTAMP_LTZ(3)", "ARRAY<STRING>", "ARRAY<BIGINT>"}

# An attribute's SQL type, or the attributes inside it.
Attributes = dict[str, "str | Attributes"]


class EventColumns:
    """The attributes of one topic.

    Args:
        topic: The topic.
        fields: The attributes to read, beside key and time.
        weight: The attribute that holds the weight, if any.
        when: Which events are meant, if not all.

    Raises:
        Invalid: One attribute is wanted in two ways that exclude each other.
    """

    def __init__(
        self,
        topic: spec.Topic,
        fields: tuple[spec.EventField, ...],
        weight: str | None,
        when: spec.Condition | None,
    ) -> None:
        self._topic = topic
        self._fields = {field.name: field for field in fields}
        self._weight = weight
        self._when = when
        self._tree: Attributes = {}
        self._want(topic.time, "TIMESTAMP_LTZ(3)" if topic.time_unit == "iso8601" else "STRING")
        self._want(topic.key, "STRING")
        for field in fields:
            self._want(field.path or field.name, SQL_TYPES[field.type])
        if weight is not None:
            self._want(weight, "DOUBLE")
        if when is not None:
            self._want(when.field, "STRING" if when.equals is not None else "DOUBLE")

    def definitions(self) -> list[str]:
        """The physical columns of a table over the topic."""
        return [f"{identifier(name)} {_sql(kind)}" for name, kind in self._tree.items()]

    def expression(self, column: str) -> str:
        """A column of the event from the table's: a field's name, or `#weight`."""
        if column == "#weight":
            assert self._weight is not None
            return self._cast(self._weight, "DOUBLE")
        field = self._fields[column]
        return self._cast(field.path or field.name, SQL_TYPES[field.type])

    def type_of(self, column: str) -> str:
        """The SQL type of :meth:`expression`."""
        return "DOUBLE" if column == "#weight" else SQL_TYPES[self._fields[column].type]

    def meant(self) -> str:
        """Whether an event is one of those meant."""
        if self._when is None:
            return "TRUE"
        if self._when.equals is not None:
            return f"{self._cast(self._when.field, 'STRING')} = {literal(self._when.equals)}"
        return f"{self._cast(self._when.field, 'DOUBLE')} >= CAST({self._when.at_least!r} AS DOUBLE)"

    def _want(self, path: str, kind: str) -> None:
        node = self._tree
        *outer, last = path.split(".")
        for step in outer:
            inside = node.setdefault(step, {})
            if isinstance(inside, str):
                raise self._refusal(path, f"an object and {inside}")
            node = inside
        found = node.get(last)
        if isinstance(found, dict):
            raise self._refusal(path, f"an object and {kind}")
        if found is None or found == kind:
            node[last] = kind
            return
        if {found, kind} & _ALONE:
            raise self._refusal(path, f"{found} and {kind}")
        node[last] = "STRING"

    def _refusal(self, path: str, both: str) -> Invalid:
        return Invalid(
            f"events: `{path}` of topic `{self._topic.topic}` cannot be both {both}",
            cure="give the two their own attributes where they are produced",
        )

    def _cast(self, path: str, wanted: str) -> str:
        found: str | Attributes = self._tree
        for step in path.split("."):
            assert isinstance(found, dict)
            found = found[step]
        name = ".".join(map(identifier, path.split(".")))
        expression = name if wanted == found else f"TRY_CAST({name} AS {wanted})"
        return finite(expression) if wanted == "DOUBLE" else expression


def finite(number: str) -> str:
    """``number``, or null where it is none: JSON has no word for NaN and infinity, which would spoil a whole batch."""
    return f"CASE WHEN ABS({number}) <= 1.7976931348623157E308 THEN {number} END"


def _sql(kind: str | Attributes) -> str:
    if isinstance(kind, str):
        return kind
    return f"ROW<{', '.join(f'{identifier(name)} {_sql(inside)}' for name, inside in kind.items())}>"
