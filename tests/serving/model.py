"""A small model that commits real versions through the writer, and says what a replica must answer; knows no replica.

Rows come from trainable tables, as the learner's do; the reference prediction is plain numpy over what those tables
hold, so that replica and learner are compared over the whole way.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from checkpointing.content import Content
from checkpointing.manifest import Graph, Manifest, Position
from checkpointing.writer import Writer
from infra.clock import SystemClock
from infra.feature_spec import feature_spec_hash
from infra.object_store import ObjectStore
from infra.spec import Pipeline
from kernels.features import RunningStatistics
from kernels.rows import TableRows
from kernels.tables import EmbeddingTables
from serving.tensorflow_runtime import tf
from springtide.wiring import build_encoder, build_tables

HIDDEN = 8
POSITIONS = [Position(topic="samples", partition=0, next_offset=0)]
FIELDS = {
    "user": "string",
    "item": "integer",
    "genres": "list[string]",
    "tags": "list[integer]",
    "price": "number",
    "age": "number",
    "member": "boolean",
}
Columns = dict[str, list[Any]]


def make_pipeline(store: str = "memory://serving", labels: tuple[str, ...] = ("click",), **changes: Any) -> Pipeline:
    """The spec of these tests."""
    document: dict[str, Any] = {
        "name": "demo",
        "kafka": {"bootstrap": "127.0.0.1:9"},
        "events": {
            "impressions": {
                "topic": "impressions",
                "key": "id",
                "time": "ts",
                "fields": [{"name": name, "type": kind} for name, kind in FIELDS.items()],
            },
            "feedback": [{"topic": label, "key": "id", "time": "ts", "name": label} for label in labels],
        },
        "features": [
            {"kind": "id", "name": "user", "source": "user", "table": "users"},
            {"kind": "id", "name": "item", "source": "item", "table": "items"},
            {"kind": "id", "name": "genres", "source": "genres", "table": "genres", "combiner": "mean"},
            {"kind": "id", "name": "tags", "source": "tags", "table": "items", "combiner": "sum"},
            {"kind": "number", "name": "price", "source": "price", "scaling": "log"},
            {"kind": "number", "name": "age", "source": "age", "scaling": "standard"},
            {"kind": "number", "name": "member", "source": "member"},
        ],
        "tables": [{"name": "users", "dim": 8}, {"name": "items", "dim": 8}, {"name": "genres", "dim": 8}],
        "learner": {"max_batch": 64},
        "serving": {"max_candidates": 64, "max_body": "64KiB"},
        "store": {"url": store, "poll_interval": "20ms"},
    }
    return Pipeline.model_validate({**document, **changes})


def make_graph(stride: int, labels: int) -> bytes:
    """Two layers as the learner exports them."""
    graph = tf.Graph()
    with graph.as_default():
        entry = tf.compat.v1.placeholder(tf.float32, [None, stride], "input")
        shapes = [[stride, HIDDEN], [HIDDEN], [HIDDEN, labels], [labels]]
        weights = [tf.compat.v1.placeholder(tf.float32, shape, f"weight_{index}") for index, shape in enumerate(shapes)]
        hidden = tf.nn.relu(tf.matmul(entry, weights[0]) + weights[1])
        tf.sigmoid(tf.matmul(hidden, weights[2]) + weights[3], name="prediction")
    return bytes(graph.as_graph_def().SerializeToString())


def arrow(columns: Columns) -> dict[str, pa.Array]:
    """Columns as the learner decodes them from samples."""
    kinds = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    types = {
        name: pa.list_(kinds[kind[5:-1]]) if kind.startswith("list") else kinds[kind] for name, kind in FIELDS.items()
    }
    return {name: pa.array(values, types[name]) for name, values in columns.items()}


def make_columns(rows: int, seed: int = 0) -> Columns:
    """Columns with nulls, empty lists and keys of either sign."""
    rng = np.random.default_rng(seed)

    def sometimes(value: Any) -> Any:
        return None if rng.random() < 0.15 else value

    return {
        "user": [sometimes(f"user-{rng.integers(20)}") for _ in range(rows)],
        "item": [sometimes(int(rng.integers(-20, 20))) for _ in range(rows)],
        "genres": [sometimes([f"g{g}" for g in rng.integers(0, 5, rng.integers(0, 4))]) for _ in range(rows)],
        "tags": [sometimes([int(t) for t in rng.integers(0, 9, rng.integers(0, 3))]) for _ in range(rows)],
        "price": [sometimes(float(rng.uniform(-5, 500))) for _ in range(rows)],
        "age": [sometimes(float(rng.uniform(18, 80))) for _ in range(rows)],
        "member": [sometimes(bool(rng.integers(2))) for _ in range(rows)],
    }


class Model:
    """A learner in small: trains a batch, commits a version."""

    def __init__(self, pipeline: Pipeline, store: ObjectStore) -> None:
        self.pipeline = pipeline
        self.encoder = build_encoder(pipeline)
        self.tables: EmbeddingTables = build_tables(pipeline, self.encoder, max_batch=64, trainable=True)
        self.statistics = RunningStatistics(self.encoder.features)
        self.writer = Writer.take_over(store, pipeline.name, "learner-0", SystemClock(), takeover=True)
        self.labels = [feedback.name for feedback in pipeline.events.feedback]
        self.graph_bytes = make_graph(self.tables.stride, len(self.labels))
        self.rng = np.random.default_rng(7)
        self.dense: dict[str, npt.NDArray[np.float32]] = {}
        self.draw_weights()

    def draw_weights(self) -> None:
        """Other dense weights."""
        stride, labels = self.tables.stride, len(self.labels)
        shapes = {
            "layer/kernel": (stride, HIDDEN),
            "layer/bias": (HIDDEN,),
            "top/kernel": (HIDDEN, labels),
            "top/bias": (labels,),
        }
        self.dense = {name: self.rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}

    def train(self, columns: Columns) -> list[TableRows]:
        """One step with a made-up gradient; returns the rows it touched."""
        batch = self.encoder.encode(arrow(columns))
        self.statistics.update(batch)
        self.tables.prepare(self.statistics.scale(batch))
        rows = self.tables.lookup()
        self.tables.apply(self.rng.normal(0, 1, (rows, self.tables.stride)).astype(np.float32), event_ms=1)
        self.draw_weights()
        return self.tables.capture()

    def graph(self) -> Graph:
        """The dense program, in the store."""
        return self.writer.put_graph(self.graph_bytes, weights=list(self.dense), labels=self.labels)

    def content(self, rows: list[TableRows]) -> Content:
        """What the next version moves."""
        return Content(
            tables=rows,
            dense=self.dense,
            statistics=self.statistics.state(),
            positions=POSITIONS,
            graph=self.graph(),
            feature_spec_hash=feature_spec_hash(self.pipeline),
        )

    def commit(self, seed: int = 0, **changes: Any) -> Manifest:
        """Trains a batch and commits the version."""
        content = self.content(self.train(make_columns(32, seed)))
        return self.writer.commit(dataclasses.replace(content, **changes))

    def expected(self, columns: Columns) -> npt.NDArray[np.float32]:
        """What the model of now predicts, [rows, labels], by numpy over the learner's own lookup."""
        batch = self.statistics.scale(self.encoder.encode(arrow(columns)))
        self.tables.prepare(batch)
        rows = self.tables.buffer[: self.tables.lookup()]
        kernel, bias, top, top_bias = self.dense.values()
        logits = np.maximum(rows @ kernel + bias, 0) @ top + top_bias
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
