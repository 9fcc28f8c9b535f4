"""Reads single messages in JSON, Avro or Protobuf as the join would, for who looks at a few; knows no topic."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import orjson

from infra import spec
from infra.errors import Invalid
from streaming.protobuf_schema import TIMESTAMP, description, is_list, is_map
from streaming.schema_registry import numbered

# What a registry's serializers write first; neither JSON nor Protobuf begins so.
MAGIC: Final = b"\0"
NUMBER: Final = slice(1, 5)
BODY: Final = 5

# The attributes of an event as JSON has them, without what is null; None for what is no event.
Reader = Callable[[bytes], dict[str, Any] | None]


def read_json(value: bytes) -> dict[str, Any] | None:
    """An event in JSON."""
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


class AvroReader:
    """Reads Avro behind the number of its schema, each message by the schema it was written with.

    Moments stay numbers of milliseconds or microseconds, as `time_unit` wants them; bytes are no value.

    Args:
        registry: Knows the schemas.
    """

    def __init__(self, registry: spec.SchemaRegistry) -> None:
        self._registry = registry
        self._schemas: dict[int, Any] = {}

    def __call__(self, value: bytes) -> dict[str, Any] | None:
        """An event, or None.

        Raises:
            Unavailable: The registry does not answer.
            Invalid: It refuses, or its schema is none of Avro.
        """
        if not value.startswith(MAGIC) or len(value) < BODY:
            return None
        number = int.from_bytes(value[NUMBER], "big")
        if number not in self._schemas:
            self._schemas[number] = self._schema(number)
        schema = self._schemas[number]
        if schema is None:
            return None
        import fastavro

        try:
            body = fastavro.schemaless_reader(io.BytesIO(value[BODY:]), schema, None)
        except Exception:  # noqa: BLE001 - bytes that are no event end in errors of any kind
            return None
        found = _plain(body)
        return found if isinstance(found, dict) else None

    def _schema(self, number: int) -> Any:
        """None where the registry knows none of that number."""
        found = numbered(self._registry, number)
        if found is None:
            return None
        if found.kind != "AVRO":
            raise Invalid(
                f"schema {number} is {found.kind.capitalize()}, not Avro",
                cure="for Protobuf say --proto and --message; docs/formats.md has what can be read",
                where=self._registry.url,
            )
        try:
            from fastavro.schema import SchemaParseException, UnknownType, parse_schema
        except ImportError:
            raise Invalid("the reader of Avro is missing", cure="install springtide[streaming]") from None
        try:
            named: dict[str, Any] = {}
            for text in found.references:
                parse_schema(_without_moments(json.loads(text)), named_schemas=named)
            return parse_schema(_without_moments(json.loads(found.text)), named_schemas=named)
        except (ValueError, KeyError, TypeError, SchemaParseException, UnknownType) as error:
            raise Invalid(f"schema {number} is no Avro schema: {error}", where=self._registry.url) from None


class ProtobufReader:
    """Reads a Protobuf message; what a field of proto3 cannot leave out has its default, as in the join.

    Args:
        path: As for :func:`streaming.protobuf_schema.describe`.
        message: The message's full name.
        framed: Whether a registry's bytes stand in front.

    Raises:
        Invalid: As :func:`streaming.protobuf_schema.describe`.
    """

    def __init__(self, path: str, message: str, *, framed: bool) -> None:
        from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]

        self._kind = GetMessageClass(description(path, message))
        self._framed = framed

    def __call__(self, value: bytes) -> dict[str, Any] | None:
        """An event, or None."""
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        try:
            return _fields(self._kind.FromString(_unframed(value) if self._framed else value))
        except (DecodeError, ValueError):
            return None


def _without_moments(schema: Any) -> Any:
    """The schema with bare numbers for moments, as the join takes them; decimals stay."""
    if isinstance(schema, list):
        return [_without_moments(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = {key: value if key == "default" else _without_moments(value) for key, value in schema.items()}
    return kept if kept.get("logicalType") == "decimal" else {k: v for k, v in kept.items() if k != "logicalType"}


def _plain(value: Any) -> Any:
    """Avro's values as those of JSON; bytes are left out."""
    if isinstance(value, dict):
        return {str(name): inner for name, each in value.items() if (inner := _plain(each)) is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return float(value)
    return None if isinstance(value, bytes) else value


def _unframed(value: bytes) -> bytes:
    """What stands behind zero byte, number, and the message's place, whose length goes first.

    Raises:
        ValueError: It is not there.
    """
    if not value.startswith(MAGIC):
        raise ValueError("no frame")
    length, at = _varint(value, BODY)
    for _ in range(length >> 1):  # in zigzag, and never below 0
        _, at = _varint(value, at)
    return value[at:]


def _varint(value: bytes, at: int) -> tuple[int, int]:
    found = 0
    for place, byte in enumerate(value[at : at + 10]):
        found |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return found, at + place + 1
    raise ValueError("no number")


def _fields(message: Any) -> dict[str, Any]:
    found = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if is_map(field):
            inner = field.message_type.fields_by_name["value"]
            told: Any = {str(key): _one(inner, each) for key, each in value.items()}
        elif is_list(field):
            told = [_one(field, each) for each in value]
        else:
            told = _one(field, value)
        if told is not None:
            found[field.name] = told
    return found


def _one(field: Any, value: Any) -> Any:
    """A single value; a moment as text, which needs no unit."""
    if field.type == field.TYPE_BYTES:
        return None
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else str(value)
    if field.message_type is None:
        return value
    return value.ToJsonString() if field.message_type.full_name == TIMESTAMP else _fields(value)
