"""One event in every encoding, and what its producers would register or compile; must not know a join."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fastavro
import httpx
import orjson
from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]
from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]

from streaming.protobuf_schema import describe

Encoder = Callable[[Mapping[str, Any]], bytes]

AVRO_IMPRESSION: dict[str, Any] = {
    "type": "record",
    "name": "Impression",
    "namespace": "shop.v1",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "unread", "type": {"type": "map", "values": ["null", "bytes"]}, "default": {}},
        {
            "name": "user",
            "type": [
                "null",
                {
                    "type": "record",
                    "name": "User",
                    "fields": [
                        {"name": "city", "type": ["null", "string"], "default": None},
                        {"name": "age", "type": ["null", "int"], "default": None},
                        {"name": "history", "type": {"type": "array", "items": "long"}, "default": []},
                    ],
                },
            ],
            "default": None,
        },
        {"name": "item", "type": ["null", "string"], "default": None},
        {"name": "place", "type": ["null", "long"], "default": None},
        {"name": "price", "type": ["null", "float"], "default": None},
        {"name": "mobile", "type": ["null", "boolean"], "default": None},
        {"name": "tags", "type": ["null", {"type": "array", "items": ["null", "string"]}], "default": None},
        {
            "name": "device",
            "type": ["null", {"type": "enum", "name": "Device", "symbols": ["PHONE", "DESK"]}],
            "default": None,
        },
        {"name": "friend", "type": ["null", "User"], "default": None},
        {"name": "w", "type": ["null", "double"], "default": None},
    ],
}

AVRO_CLICK: dict[str, Any] = {
    "type": "record",
    "name": "Click",
    "namespace": "shop.v1",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}

# What the serializers of a registry write in front of the second message of a file.
FRAME = b"\0\0\0\0\7\2\2"

PROTO = """
syntax = "proto3";
package shop.v1;
import "google/protobuf/timestamp.proto";

message User {
  optional string city = 1;
  optional int32 age = 2;
  repeated int64 history = 3;
}

enum Device { UNKNOWN = 0; PHONE = 1; DESK = 2; }

message Impression {
  string id = 1;
  google.protobuf.Timestamp ts = 2;
  map<string, bytes> unread = 3;
  User user = 4;
  optional string item = 5;
  optional int64 place = 6;
  optional float price = 7;
  optional bool mobile = 8;
  repeated string tags = 9;
  optional Device device = 10;
  User friend = 11;
  optional double w = 12;
}

message Click {
  string id = 1;
  google.protobuf.Timestamp ts = 2;
}
"""


def proto_file(folder: Path) -> Path:
    """The messages, as a file of the producer's."""
    path = folder / "events.proto"
    path.write_text(PROTO, encoding="utf-8")
    return path


def json_encoder(event: Mapping[str, Any]) -> bytes:
    return orjson.dumps(event)


def protobuf_encoder(path: Path, message: str, frame: bytes = b"") -> Encoder:
    """Encodes events whose times are ISO-8601."""
    pool = DescriptorPool()
    for file in describe(str(path), message).file:
        pool.Add(file)
    kind = GetMessageClass(pool.FindMessageTypeByName(message))

    def encode(event: Mapping[str, Any]) -> bytes:
        written = json_format.ParseDict(dict(event), kind(), descriptor_pool=pool)
        return frame + bytes(written.SerializeToString())

    return encode


def avro_encoder(number: int, schema: Mapping[str, Any]) -> Encoder:
    """Encodes events whose times are milliseconds, behind the number of their schema."""
    parsed = fastavro.parse_schema(json.loads(json.dumps(schema)))

    def encode(event: Mapping[str, Any]) -> bytes:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, parsed, dict(event))
        return b"\0" + number.to_bytes(4, "big") + stream.getvalue()

    return encode


def register(registry: Mapping[str, Any], subject: str, schema: Mapping[str, Any]) -> int:
    """Registers as a producer does, at the registry of a pipeline; the schema's number."""
    answer = httpx.post(
        f"{registry['url']}/subjects/{subject}/versions",
        json={"schema": json.dumps(schema)},
        headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
        trust_env=False,
        verify=ssl.create_default_context(cafile=registry["ca"]) if "ca" in registry else True,
    )
    return int(answer.raise_for_status().json()["id"])
