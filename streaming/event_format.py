"""How the decoder of events is told what to read, as options of a Flink table; must not know SQL.

The other end is `EventFormat.java`.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping

from infra import spec
from streaming import protobuf_schema
from streaming.schema_registry import authorization, certificates
from streaming.sql_columns import EventColumn

FORMAT = "springtide"


def options(
    topic: spec.Topic, columns: Iterable[EventColumn], registry: spec.SchemaRegistry | None, *, reveal: bool
) -> Mapping[str, str]:
    """The options of one topic's format.

    Args:
        topic: The topic, with its encoding.
        columns: What to read.
        registry: Where the schemas of Avro are; the spec sees to it that it is there for Avro.
        reveal: Whether secrets stand in the options as they are.

    Raises:
        Invalid: A secret, a certificate or the description of a message cannot be read.
    """
    found = {
        "encoding": topic.format,
        "columns": json.dumps({column.name: [column.path, column.type] for column in columns}, sort_keys=True),
    }
    if topic.format == "avro":
        assert registry is not None
        found["registry.url"] = registry.url.rstrip("/")
        header, trusted = authorization(registry, reveal=reveal), certificates(registry, reveal=reveal)
        # Flink masks the values of keys like this one in its own messages.
        found |= {"registry.basic-auth": header} if header is not None else {}
        found |= {"registry.certificates": trusted} if trusted is not None else {}
    if topic.format == "protobuf":
        assert topic.proto is not None and topic.message is not None
        described = protobuf_schema.describe(topic.proto, topic.message)
        found["descriptors"] = base64.b64encode(described.SerializeToString(deterministic=True)).decode()
        found["message"] = topic.message
        found["framed"] = "true" if topic.framed else "false"
    return {"format": FORMAT, **{f"{FORMAT}.{key}": value for key, value in found.items()}}
