"""The model that serving is measured on, 26 ids and a network of 256-128, by Springtide and by a stock SavedModel."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkpointing.content import Content
from checkpointing.follower import Follower
from checkpointing.manifest import Position
from checkpointing.writer import Writer
from infra.clock import SystemClock
from infra.feature_spec import feature_spec_hash
from infra.metrics import Metrics
from infra.object_store import open_store
from infra.spec import Pipeline
from kernels.rows import TableRows
from kernels.running_statistics import RunningStatistics
from serving.acceptance import Acceptance
from serving.follow import Following
from serving.predictor import Predictor
from serving.signature import Signature
from serving.snapshot import Readers, Switch
from serving.tensorflow_runtime import tf
from springtide.wiring import build_encoder, build_tables

FEATURES: Final = 26
USER_FEATURES: Final = 13
KEYS: Final = 100_000
DIM: Final = 16
CANDIDATES: Final = 100
HIDDEN: Final = (256, 128)
NAMES: Final = tuple(f"c{place:02d}" for place in range(FEATURES))
LOAD: Final = f"{CANDIDATES} candidates, {FEATURES} ids, {KEYS} keys a table, dim {DIM}, MLP {HIDDEN[0]}-{HIDDEN[1]}"


def make_pipeline(store: str, **serving: Any) -> Pipeline:
    """One table per feature; the first half of the features is the user's."""
    return Pipeline.model_validate(
        {
            "name": "bench",
            "kafka": {"bootstrap": "127.0.0.1:9"},
            "events": {
                "impressions": {
                    "topic": "impressions",
                    "key": "id",
                    "time": "ts",
                    "fields": [{"name": name, "type": "integer"} for name in NAMES],
                },
                "feedback": [{"topic": "click", "key": "id", "time": "ts", "name": "click"}],
            },
            "features": [{"kind": "id", "name": name, "source": name, "table": name} for name in NAMES],
            "tables": [{"name": name, "dim": DIM} for name in NAMES],
            "serving": {"user_fields": list(NAMES[:USER_FEATURES]), "max_candidates": 1024, **serving},
            "store": {"url": store, "poll_interval": "20ms"},
        }
    )


def weights(random: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Dense weights in the order of the graph's inputs."""
    shapes = [(FEATURES * DIM, HIDDEN[0]), (HIDDEN[0],), HIDDEN, (HIDDEN[1],), (HIDDEN[1], 1), (1,)]
    return {f"dense_{place}": random.normal(0, 0.05, shape).astype(np.float32) for place, shape in enumerate(shapes)}


def network(rows: Any, parts: list[Any]) -> Any:
    """The network as TensorFlow operations."""
    for depth in range(len(HIDDEN)):
        rows = tf.nn.relu(tf.matmul(rows, parts[2 * depth]) + parts[2 * depth + 1])
    return tf.sigmoid(tf.matmul(rows, parts[-2]) + parts[-1])


def graph_bytes(stride: int) -> bytes:
    """The network as a learner stores it."""
    graph = tf.Graph()
    with graph.as_default():
        entry = tf.compat.v1.placeholder(tf.float32, [None, stride], "input")
        shapes = [array.shape for array in weights(np.random.default_rng(0)).values()]
        parts = [tf.compat.v1.placeholder(tf.float32, shape, f"weight_{place}") for place, shape in enumerate(shapes)]
        tf.identity(network(entry, parts), name="prediction")
    return bytes(graph.as_graph_def().SerializeToString())


@dataclass
class Trained:
    """A committed model and its writer, which can go on."""

    pipeline: Pipeline
    writer: Writer
    graph: Any
    random: np.random.Generator

    def commit(self, keys: NDArray[np.int64]) -> None:
        """A version with new rows for ``keys`` of every table, and new dense weights."""
        width = len(keys)
        tables = [
            TableRows(
                table=name,
                keys=keys,
                values=self.random.normal(0, 0.05, (width, DIM)).astype(np.float32),
                slots=np.zeros((width, 0), np.float32),
                frequency=np.ones(width, np.uint32),
                last_seen=np.zeros(width, np.int64),
                tombstones=np.empty(0, np.int64),
            )
            for name in NAMES
        ]
        self.writer.commit(
            Content(
                tables=tables,
                dense=weights(self.random),
                statistics=RunningStatistics(build_encoder(self.pipeline).features).state(),
                positions=[Position(topic="samples", partition=0, next_offset=0)],
                graph=self.graph,
                feature_spec_hash=feature_spec_hash(self.pipeline),
            )
        )


def trained(folder: Path, **serving: Any) -> Trained:
    """A model with all its rows, committed to a store in ``folder``."""
    pipeline = make_pipeline(folder.as_uri(), **serving)
    writer = Writer.take_over(open_store(pipeline.store), pipeline.name, "bench", SystemClock(), takeover=True)
    graph = writer.put_graph(
        graph_bytes(FEATURES * DIM), weights=list(weights(np.random.default_rng(0))), labels=["click"]
    )
    model = Trained(pipeline, writer, graph, np.random.default_rng(1))
    model.commit(np.arange(KEYS))
    return model


def replica(pipeline: Pipeline) -> tuple[Predictor, Following, Switch]:
    """The parts of a replica that answer, in this process, on the newest version."""
    encoder = build_encoder(pipeline)
    metrics = Metrics("replica", clock=SystemClock())
    tables = build_tables(pipeline, encoder, max_batch=pipeline.serving.max_candidates, trainable=False)
    switch = Switch(tables, pipeline.serving.kept_versions)
    signature = Signature.of(pipeline)
    following = Following(
        follower=lambda: Follower(open_store(pipeline.store), pipeline.name, SystemClock()),
        acceptance=Acceptance(signature, encoder.features, feature_spec_hash(pipeline)),
        switch=switch,
        metrics=metrics,
        clock=SystemClock(),
        poll_interval_s=0.02,
    )
    following.step()
    return Predictor(signature, encoder, switch, Readers(tables), metrics), following, switch


def requests(count: int) -> list[NDArray[np.int64]]:
    """Ids ``[CANDIDATES, FEATURES]`` of requests, one user each."""
    random = np.random.default_rng(2)
    found = []
    for _ in range(count):
        ids = random.integers(0, KEYS, (CANDIDATES, FEATURES))
        ids[:, :USER_FEATURES] = ids[0, :USER_FEATURES]
        found.append(ids)
    return found


def columns_of(ids: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """A request's columns as a server has read them, the user's with one value."""
    return {
        name: np.ascontiguousarray(ids[:1, place] if place < USER_FEATURES else ids[:, place])
        for place, name in enumerate(NAMES)
    }


class Stock(tf.Module):  # type: ignore[misc]
    """The same as people serve it: embeddings as variables of a SavedModel."""

    def __init__(self) -> None:
        super().__init__()
        random = np.random.default_rng(1)
        self.tables = [tf.Variable(random.normal(0, 0.05, (KEYS, DIM)).astype(np.float32)) for _ in NAMES]
        self.parts = [tf.Variable(array) for array in weights(random).values()]

    @tf.function(input_signature=[tf.TensorSpec([None, FEATURES], tf.int64, "ids")])  # type: ignore[untyped-decorator]
    def stacked(self, ids: Any) -> dict[str, Any]:
        """One input of all ids."""
        rows = [tf.gather(table, ids[:, place]) for place, table in enumerate(self.tables)]
        return {"click": network(tf.concat(rows, 1), self.parts)}

    @tf.function(input_signature=[{name: tf.TensorSpec([None], tf.int64, name) for name in NAMES}])  # type: ignore[untyped-decorator]
    def named(self, columns: dict[str, Any]) -> dict[str, Any]:
        """An input per feature."""
        rows = [tf.gather(table, columns[name]) for name, table in zip(NAMES, self.tables, strict=True)]
        return {"click": network(tf.concat(rows, 1), self.parts)}


def saved_stock(folder: Path) -> Any:
    """The stock model, saved and loaded."""
    stock = Stock()
    signatures = {"stacked": stock.stacked.get_concrete_function(), "named": stock.named.get_concrete_function()}
    tf.saved_model.save(stock, str(folder), signatures=signatures)
    return tf.saved_model.load(str(folder))
