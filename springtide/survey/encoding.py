"""In which encoding each topic's messages are, and what a pipeline says of it; knows no column."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from infra.errors import Invalid
from infra.spec import SchemaRegistry, Topic
from streaming.event_reading import MAGIC, AvroReader, ProtobufReader, Reader, read_json
from streaming.topic_sample import Message


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the messages of one topic are read.

    Attributes:
        format: As a pipeline has it.
        read: Reads one message.
        proto: Of Protobuf: the file that describes the messages.
        message: Of Protobuf: the message's full name.
        framed: Of Protobuf: whether a registry's bytes stand in front.
    """

    format: Literal["json", "avro", "protobuf"] = "json"
    read: Reader = read_json
    proto: str = ""
    message: str = ""
    framed: bool = False


JSON: Final = Encoding()


def encoding_of(topic: Topic, registry: SchemaRegistry | None) -> Encoding:
    """That which a pipeline says a topic has.

    Raises:
        Invalid: Its Protobuf message is not described.
    """
    if topic.format == "avro" and registry is not None:
        return Encoding("avro", AvroReader(registry))
    if topic.format == "protobuf" and topic.proto is not None and topic.message is not None:
        reader = ProtobufReader(topic.proto, topic.message, framed=topic.framed)
        return Encoding("protobuf", reader, topic.proto, topic.message, topic.framed)
    return JSON


@dataclass(frozen=True, slots=True)
class Known:
    """What a person said of encodings.

    Attributes:
        registry: Knows the schemas of Avro messages.
        proto: Describes the messages of Protobuf.
        messages: Topic -> full name of its Protobuf message.
    """

    registry: SchemaRegistry | None = None
    proto: str | None = None
    messages: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, registry: SchemaRegistry | None, proto: str | None, messages: Sequence[str], topics: Sequence[str]
    ) -> Self:
        """From `--registry`, `--proto`, and `--message` once a topic.

        Raises:
            Invalid: They do not fit together.
        """
        named: dict[str, str] = {}
        for each in messages:
            topic, separator, message = each.partition("=")
            if not separator or not message:
                raise Invalid(f"--message: got `{each}`", wanted="a topic and its message, as shop.views=shop.v1.View")
            if topic not in topics:
                raise Invalid(f"--message: topic `{topic}` is not looked at", wanted=f"one of {', '.join(topics)}")
            named[topic] = message
        if (proto is None) != (not named):
            raise Invalid(
                "--proto and --message go together",
                wanted="the .proto file or what protoc made of it, and for each topic in Protobuf --message TOPIC=NAME",
            )
        return cls(registry, proto, named)

    def encoding(self, topic: str, messages: Sequence[Message]) -> Encoding:
        """That of a topic: Protobuf where its message was named, Avro where a registry was and messages begin so.

        Raises:
            Invalid: The message is not described.
        """
        framed = 2 * sum(each.value.startswith(MAGIC) for each in messages) > len(messages)
        if self.proto is not None and topic in self.messages:
            message = self.messages[topic]
            reader = ProtobufReader(self.proto, message, framed=framed)
            return Encoding("protobuf", reader, self.proto, message, framed)
        if self.registry is not None and framed:
            return Encoding("avro", AvroReader(self.registry))
        return JSON
