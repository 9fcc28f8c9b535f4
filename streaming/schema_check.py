"""Holds a pipeline's mapping against the schemas of its topics before a job reads them; knows no job."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from infra import spec
from infra.errors import Invalid
from streaming import schema_registry
from streaming.attribute_types import Absent, absence, misfit
from streaming.avro_schema import AvroSchema
from streaming.protobuf_schema import ProtobufSchema
from streaming.sql_columns import columns_of


class Schema(Protocol):
    """What a schema must be able to say."""

    def shapes(self, path: str) -> frozenset[str]: ...


class Checked(NamedTuple):
    """A topic whose schema has all that is read from it, and where that schema stands."""

    topic: str
    source: str


def check_schemas(pipeline: spec.Pipeline) -> tuple[Checked, ...]:
    """Every topic with a schema, if all of them have what the pipeline reads. JSON has none.

    Raises:
        Unavailable: The registry does not answer.
        Invalid: A schema lacks an attribute or has it with another type: one line each; or it cannot be read.
    """
    events = pipeline.events
    found: dict[str, Checked] = {}
    wrong: list[str] = []
    for topic in (events.impressions, *events.feedback):
        if topic.format == "json":
            continue
        schema, source = _schema(topic, pipeline.schema_registry)
        wrong += [f"topic `{topic.topic}`, {source}: {text}" for text in _misfits(topic, schema)]
        found[topic.topic] = Checked(topic.topic, source)
    if wrong:
        raise Invalid(
            "\n".join(dict.fromkeys(wrong)),
            cure="change `events` in the pipeline to what the schema has, or the schema back to what `events` reads",
        )
    return tuple(found.values())


def subject(topic: spec.Topic) -> str:
    """Under what name the registry keeps the schema of a topic's values."""
    return topic.subject or f"{topic.topic}-value"


def _schema(topic: spec.Topic, registry: spec.SchemaRegistry | None) -> tuple[Schema, str]:
    if topic.format == "protobuf":
        assert topic.proto is not None and topic.message is not None
        return ProtobufSchema(topic.proto, topic.message), f"message `{topic.message}` of {topic.proto}"
    assert registry is not None
    newest = schema_registry.newest(registry, subject(topic))
    source = f"subject `{newest.subject}` version {newest.version}"
    if newest.kind != "AVRO":
        raise Invalid(f"{source} is {newest.kind}", wanted="AVRO", where=registry.url)
    return AvroSchema(newest.text, newest.references), source


def _misfits(topic: spec.Topic, schema: Schema) -> Iterator[str]:
    for column in columns_of(topic):
        try:
            text = misfit(column, schema.shapes(column.path))
        except Absent as error:
            text = absence(column, str(error))
        if text is not None:
            yield text
