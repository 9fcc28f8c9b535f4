"""What may be a dense program: arithmetic that is what its hash says; anything else is refused before it runs."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra import spec
from infra.errors import Corrupt
from learner.export import export_graph
from learner.models import build_model
from serving.dense_program import DenseGraph, DenseGraphs
from serving.tensorflow_runtime import tf
from tests.learner.test_export import LAYOUTS
from tests.serving.model import make_graph

WEIGHTS = {
    "a": np.ones((16, 8), np.float32),
    "b": np.zeros(8, np.float32),
    "c": np.ones((8, 1), np.float32),
    "d": np.zeros(1, np.float32),
}


def load(graph: Any) -> DenseGraph:
    content = graph if isinstance(graph, bytes) else graph.as_graph_def().SerializeToString()
    return DenseGraph(content, hashlib.sha256(content).hexdigest())


def graph_of(output: Callable[[Any], Any], *, stride: int | None = 16, rows: int | None = None) -> Any:
    graph = tf.Graph()
    with graph.as_default():
        entry = tf.compat.v1.placeholder(tf.float32, [rows, stride], "input")
        tf.identity(output(entry), name="prediction")
    return graph


def test_predicts_what_numpy_does() -> None:
    rng = np.random.default_rng(1)
    weights = {name: np.asarray(rng.normal(size=array.shape), np.float32) for name, array in WEIGHTS.items()}
    program = load(make_graph(16, 1)).bind(weights)
    rows = rng.normal(size=(33, 16)).astype(np.float32)
    a, b, c, d = weights.values()
    wanted = 1 / (1 + np.exp(-(np.maximum(rows @ a + b, 0) @ c + d)))
    # Unaligned and read-only buffers take the way through a copy.
    aligned = np.empty(33 * 16 + 16, np.float32)
    start = -aligned.ctypes.data % 64 // 4
    at_64 = aligned[start : start + 33 * 16].reshape(33, 16)
    at_64[:] = rows
    off = aligned[start + 1 : start + 1 + 32 * 16].reshape(32, 16).copy()
    np.testing.assert_allclose(program.predict(at_64), wanted, atol=2e-6)
    np.testing.assert_allclose(program.predict(rows), wanted, atol=2e-6)
    rows.setflags(write=False)
    np.testing.assert_allclose(program.predict(rows), wanted, atol=2e-6)
    assert program.predict(off).shape == (32, 1)


def test_weights_belong_to_the_version_and_the_graph_is_imported_once() -> None:
    graphs = DenseGraphs()
    content = make_graph(16, 1)
    sha256 = hashlib.sha256(content).hexdigest()
    graph = graphs.get(content, sha256)
    assert graphs.get(content, sha256) is graph
    rows = np.ones((2, 16), np.float32)
    first, second = graph.bind(WEIGHTS), graph.bind(WEIGHTS | {"d": np.full(1, -200, np.float32)})
    assert first.predict(rows)[0, 0] == pytest.approx(1.0)
    assert second.predict(rows)[0, 0] == pytest.approx(0.0)


def test_hash_must_fit() -> None:
    with pytest.raises(Corrupt, match="has the hash"):
        DenseGraph(make_graph(16, 1), "0" * 64)


def test_reading_a_file_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"\x00\x00\x80\x3f" * 16)

    def reads(entry: Any) -> Any:
        return entry + tf.io.decode_raw(tf.io.read_file(str(secret)), tf.float32)

    with pytest.raises(Corrupt, match=r"not numeric|ReadFile"):
        load(graph_of(reads))


def test_python_is_refused() -> None:
    with pytest.raises(Corrupt, match="PyFunc"):
        load(graph_of(lambda entry: tf.numpy_function(lambda x: x, [entry], tf.float32)))


@pytest.mark.parametrize(
    "output",
    [
        lambda entry: entry + tf.random.normal([16], seed=1),
        lambda entry: tf.while_loop(lambda _: True, lambda x: x, [entry])[0],
        lambda entry: tf.raw_ops.Print(input=entry, data=[entry]),
        lambda entry: (
            entry
            + tf.raw_ops.ReadVariableOp(resource=tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[16]), dtype=tf.float32)
        ),
        lambda entry: tf.strings.to_number(tf.strings.as_string(entry)),
    ],
)
def test_other_operations_are_refused(output: Callable[[Any], Any]) -> None:
    with pytest.raises(Corrupt, match=r"holds the operation|not numeric"):
        load(graph_of(output))


def test_a_function_hides_nothing() -> None:
    def hidden(entry: Any) -> Any:
        return entry + tf.random.normal([16], seed=1)

    with pytest.raises(Corrupt, match="RandomStandardNormal"):
        load(graph_of(tf.function(hidden, autograph=False)))


def test_a_function_of_arithmetic_is_let_in() -> None:
    def half(entry: Any) -> Any:
        return entry * 0.5

    program = load(graph_of(tf.function(half, autograph=False))).bind({})
    assert program.predict(np.ones((3, 16), np.float32)).tolist() == [[0.5] * 16] * 3


def test_a_function_named_like_an_operation_is_refused() -> None:
    def half(entry: Any) -> Any:
        return entry * 0.5

    definition = graph_of(tf.function(half, autograph=False)).as_graph_def()
    definition.library.function[0].signature.name = "MatMul"
    with pytest.raises(Corrupt, match="redefines the operation MatMul"):
        load(definition.SerializeToString())


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        (b"", "placeholders"),
        (b"\xff" * 40, "no GraphDef"),
        (graph_of(lambda entry: entry, stride=None), "input is float32"),
        (graph_of(lambda entry: entry, rows=4), "input is float32"),
        (graph_of(lambda entry: tf.reduce_sum(entry, 1)), "prediction is float32"),
        (graph_of(lambda entry: tf.cast(entry, tf.int32)), "prediction is int32"),
        (graph_of(lambda entry: tf.zeros([1, 1]) + tf.reduce_sum(entry)), "prediction is float32"),
        (graph_of(lambda entry: entry + tf.compat.v1.placeholder(tf.float32, [16], "bias")), "placeholders"),
    ],
)
def test_wrong_form(graph: Any, told: str) -> None:
    with pytest.raises(Corrupt, match=told):
        load(graph)


def test_missing_output() -> None:
    definition = graph_of(lambda entry: entry).as_graph_def()
    definition.node[-1].name = "other"
    with pytest.raises(Corrupt, match="no output"):
        load(definition.SerializeToString())


def test_dangling_input() -> None:
    definition = graph_of(lambda entry: entry * 2.0).as_graph_def()
    definition.node[-1].input[0] = "nowhere"
    with pytest.raises(Corrupt, match="cannot be imported"):
        load(definition.SerializeToString())


@pytest.mark.parametrize(
    "weights",
    [
        {name: array for name, array in WEIGHTS.items() if name != "d"},
        WEIGHTS | {"e": np.zeros(1, np.float32)},
        WEIGHTS | {"a": np.ones((16, 9), np.float32)},
        WEIGHTS | {"b": np.zeros(8, np.float64)},
    ],
)
def test_weights_must_fit(weights: dict[str, Any]) -> None:
    with pytest.raises(Corrupt, match="dense array"):
        load(make_graph(16, 1)).bind(weights)


def test_a_graph_that_fails_at_run_time_is_corrupt() -> None:
    graph = graph_of(lambda entry: tf.reshape(entry, [-1, 7]))
    with pytest.raises(Corrupt, match="cannot run"):
        load(graph).bind({})


@pytest.mark.parametrize("name", ["lr", "deepfm"])
def test_the_learners_own_models_are_let_in(name: str) -> None:
    layout = LAYOUTS[name]
    model = build_model(name, layout, 1, spec.Model(), seed=1)
    weights = {weight.path: weight.numpy() for weight in model.weights}
    rows = np.random.default_rng(0).normal(size=(6, layout.stride)).astype(np.float32)
    predictions = load(export_graph(model, layout.stride)).bind(weights).predict(rows)
    np.testing.assert_allclose(predictions, 1 / (1 + np.exp(-model(rows).numpy())), rtol=0, atol=2e-6)
