"""What a sample's columns are called and typed, for SQL and Arrow alike; must not know Flink or the learner."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import pyarrow as pa

from infra import spec

# The emission number behind the last dot of a sample id.
VERDICT = 0
CORRECTION = 1
# Added to both in a replay of what was late.
REPLAY = 2

# The values of the column `kind`.
CLICK = "click"
TIMEOUT = "timeout"
CORRECTED = "correction"
IMPRESSION = "impression"  # shown, and not answered yet; only where labels are known at once

ColumnType = Literal["label", "time", "string", "integer", "number", "boolean", "list[string]", "list[integer]"]

ARROW_TYPES: Mapping[ColumnType, pa.DataType] = MappingProxyType(
    {
        "label": pa.int8(),
        "time": pa.timestamp("ms", tz="UTC"),
        "string": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "list[string]": pa.list_(pa.string()),
        "list[integer]": pa.list_(pa.int64()),
    }
)


@dataclass(frozen=True)
class Column:
    """One column of a sample: its name on the wire and the kind of its values."""

    name: str
    type: ColumnType


def label(feedback: str) -> str:
    """The label column of one kind of feedback."""
    return f"label_{feedback}"


def sample_id(join_key: str, feedback: str, emission: int) -> str:
    """The name of one emission: the same events always give the same name."""
    return f"{join_key}#{feedback}.{emission}"


def columns(events: spec.Events) -> tuple[Column, ...]:
    """The columns of a sample in the order of the wire; the spec sees to it that no field hides one of Springtide's."""
    return (
        Column("sample_id", "string"),
        Column("kind", "string"),
        *(Column(label(feedback.name), "label") for feedback in events.feedback),
        Column("impression_ts", "time"),
        Column("received_ts", "time"),
        Column("known_ts", "time"),
        Column("weight", "number"),
        Column("down_sampling_rate", "number"),
        *(Column(field.name, field.type) for field in events.impressions.fields),
    )


def sample_schema(events: spec.Events) -> pa.Schema:
    """The Arrow schema by which the JSON of a sample is decoded; an absent field reads null.

    Every column is nullable, so that one bad record cannot stop the decoding of its whole batch.
    """
    return pa.schema([(column.name, ARROW_TYPES[column.type]) for column in columns(events)])
