"""Samples as they stand on the wire, and the pipeline they belong to; knows the contract only."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from infra import spec
from infra.clock import iso
from infra.kafka.batch import Batch

START_MS = 1_790_000_000_000
NOW = START_MS + 1_000_000

PIPELINE: dict[str, Any] = {
    "name": "shop",
    "kafka": {"bootstrap": "127.0.0.1:9092"},
    "events": {
        "impressions": {
            "topic": "impressions",
            "key": "id",
            "time": "at",
            "fields": [
                {"name": "user"},
                {"name": "item", "type": "integer"},
                {"name": "age", "type": "number"},
                {"name": "genres", "type": "list[string]"},
            ],
        },
        "feedback": [{"name": "click", "topic": "clicks", "key": "id", "time": "at"}],
    },
    "features": [
        {"kind": "id", "name": "user", "source": "user", "table": "user"},
        {"kind": "id", "name": "item", "source": "item", "table": "item"},
        {"kind": "id", "name": "genres", "source": "genres", "table": "genre"},
        {"kind": "number", "name": "age", "source": "age", "scaling": "standard"},
    ],
    "tables": [
        {"name": "user", "dim": 8},
        {"name": "item", "dim": 8},
        {"name": "genre", "dim": 8, "serving_precision": "int8"},
    ],
    "model": {"name": "deepfm", "hidden": [8]},
    "learner": {"commit_interval": "100ms", "heartbeat_interval": "1s", "max_batch": 64, "port": 0},
    "store": {"url": "memory://shop"},
}


def pipeline(**changes: Any) -> spec.Pipeline:
    """The pipeline of these tests; ``changes`` replace its top-level parts."""
    return spec.Pipeline.model_validate(PIPELINE | changes)


def tables(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Its tables, some of them changed by name."""
    return [table | changes.get(table["name"], {}) for table in PIPELINE["tables"]]


def features(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Its features, likewise."""
    return [feature | changes.get(feature["name"], {}) for feature in PIPELINE["features"]]


def sample(number: int, **changes: Any) -> dict[str, Any]:
    """Sample ``number`` of a stream in which even items are liked and odd ones are not."""
    item = number % 10
    click = (number * 7919 % 100) < (70 if item % 2 == 0 else 20)
    shown = START_MS + number * 10
    known = shown + (500 if click else 3_000)
    return {
        "sample_id": f"imp-{number}#click.0",
        "kind": "click" if click else "timeout",
        "label_click": int(click),
        "impression_ts": iso(shown),
        "received_ts": iso(known + 40),
        "known_ts": iso(known),
        "weight": 1,
        "down_sampling_rate": 1,
        "user": f"u{number * 31 % 17}",
        "item": item,
        "age": 20 + number % 40,
        "genres": ["drama", "comedy"][: 1 + number % 2],
    } | changes


def message(number: int, **changes: Any) -> bytes:
    """The sample as it stands in Kafka."""
    return json.dumps(sample(number, **changes)).encode()


def batch(bodies: Sequence[bytes | None], first: int = 0) -> Batch:
    """Messages as they come from one partition, all taken in by Kafka at :data:`NOW`."""
    count = len(bodies)
    offsets = np.arange(first, first + count, dtype=np.int64)
    return Batch(
        "samples", np.zeros(count, np.int32), offsets, np.full(count, NOW, np.int64), [None] * count, list(bodies)
    )
