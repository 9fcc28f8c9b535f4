"""The columns of a topic's messages, with their types and values; knows no Kafka and no pipeline."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from infra.errors import Invalid
from infra.spec import FieldType
from springtide.survey.encoding import JSON, Encoding
from streaming.event_reading import MAGIC
from streaming.topic_sample import Message

# Of fewer messages than this share nothing can be said; the rest may be what a producer got wrong.
READABLE_SHARE: Final = 0.5
DEEPEST: Final = 8
INTEGERS: Final = range(-(2**63), 2**63)
# What a pipeline can name.
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_DECIMAL: Final = re.compile(r"-?[0-9]+\.[0-9]+")


@dataclass
class Column:
    """One attribute over all messages, by its path.

    Attributes:
        path: Names with dots.
        values: Its values in the order of the messages, with the message's number; null is none.
        declared: Whether a schema says what it is: then text that looks like a number stays text.
    """

    path: str
    values: list[tuple[int, Any]] = field(default_factory=list)
    declared: bool = False

    @property
    def nameable(self) -> bool:
        """Whether a pipeline can name it as a key or a time: at the top of the message, by a plain name."""
        return NAME.fullmatch(self.path) is not None

    @property
    def type(self) -> FieldType | None:
        """What a pipeline would call it; None for what is no feature, such as a list of objects."""
        if not self.values:
            return None
        kinds = {_kind(value) for _, value in self.values}
        if kinds == {"list"}:
            return _list_type([each for _, value in self.values for each in value if each is not None])
        if kinds == {"string"} and not self.declared and all(_DECIMAL.fullmatch(str(each)) for _, each in self.values):
            return "number"  # written as text, as prices often are
        return _scalar_type(kinds)

    @property
    def distinct(self) -> int:
        """How many different values it has; those of a list one by one."""
        return len(self.counts())

    def counts(self) -> Counter[str]:
        """How often each value stands, as text; those of a list one by one."""
        found: Counter[str] = Counter()
        for _, value in self.values:
            found.update(text(each) for each in (value if isinstance(value, list) else [value]))
        return found


@dataclass(frozen=True)
class Table:
    """The readable messages of a topic.

    Attributes:
        topic: Where they come from.
        messages: As read, those that are no events left out.
        columns: By path, in the order in which they first stood.
        unreadable: How many messages are no events.
        encoding: How they were read.
    """

    topic: str
    messages: list[Message]
    columns: dict[str, Column]
    unreadable: int
    encoding: Encoding = JSON

    def __len__(self) -> int:
        return len(self.messages)


def read_table(topic: str, messages: Sequence[Message], encoding: Encoding = JSON) -> Table:
    """The columns of ``messages``.

    Raises:
        Invalid: Most of them are no events in that encoding.
        Unavailable: What knows their schemas does not answer.
    """
    readable: list[Message] = []
    columns: dict[str, Column] = {}
    for message in messages:
        body = encoding.read(message.value)
        if body is None:
            continue
        for path, value in _leaves(body, "", 1):
            column = columns.setdefault(path, Column(path, declared=encoding.format != "json"))
            column.values.append((len(readable), value))
        readable.append(message)
    bad = len(messages) - len(readable)
    if not readable or len(readable) < READABLE_SHARE * len(messages):
        raise _unreadable(topic, messages, bad, encoding)
    return Table(topic, readable, columns, bad, encoding)


def _unreadable(topic: str, messages: Sequence[Message], bad: int, encoding: Encoding) -> Invalid:
    told = f"topic `{topic}`: {bad:,} of {len(messages):,} messages are no"
    if encoding.format == "protobuf":
        return Invalid(
            f"{told} `{encoding.message}` in Protobuf", wanted="that message", cure="correct `message` or `proto`"
        )
    if encoding.format == "avro":
        return Invalid(
            f"{told} events in Avro with a schema that the registry knows", cure="name the registry that knows it"
        )
    framed = sum(message.value.startswith(MAGIC) for message in messages)
    cure = "name a topic of JSON objects, or for Protobuf say --proto FILE --message TOPIC=NAME"
    if framed > bad / 2:
        cure = "they begin as those of a registry do: say --registry URL for Avro, --proto and --message for Protobuf"
    return Invalid(f"{told} JSON objects", wanted="one JSON object a message", cure=cure)


def text(value: Any) -> str:
    """A value as the join compares keys: whole numbers as their digits, booleans as JSON has them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _leaves(body: dict[str, Any], above: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in body.items():
        path = f"{above}{name}"
        if isinstance(value, dict) and depth < DEEPEST:
            yield from _leaves(value, f"{path}.", depth + 1)
        elif value is not None:
            yield path, value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer" if value in INTEGERS else "string"
    return {float: "number", str: "string", list: "list"}.get(type(value), "object")


def _scalar_type(kinds: set[str]) -> FieldType | None:
    if kinds == {"boolean"}:
        return "boolean"
    if kinds == {"integer"}:
        return "integer"
    if kinds <= {"integer", "number"}:
        return "number"
    return "string" if kinds <= {"string", "integer", "boolean"} else None


def _list_type(values: Sequence[Any]) -> FieldType | None:
    kinds = {_kind(value) for value in values}
    if kinds == {"integer"}:
        return "list[integer]"
    return "list[string]" if kinds and kinds <= {"string", "integer"} else None
