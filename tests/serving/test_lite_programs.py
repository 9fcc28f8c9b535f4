"""LiteRT answers what TensorFlow does: every model, every number of rows, new weights, and with shared columns."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from infra import spec
from learner.export import digest, export_graph
from learner.models import BUILT_IN, IdBlock, Layout, build_model
from learner.models.weights import weight_names
from serving.dense_program import TOLERANCE, DenseGraph, DenseProgram
from serving.lite_program import Converted, RecentSizes
from serving.lite_template import LiteTemplate, convert
from serving.tensorflow_runtime import tf
from tests.learner.test_model_conformance import OWN, SETTINGS

NARROW = Layout(stride=32, ids=tuple(IdBlock(f"f{at}", at, 1) for at in range(6)), numbers_offset=6, numbers=3)
LAYOUT = Layout(stride=32, ids=tuple(IdBlock(f"f{at}", 4 * at, 4) for at in range(6)), numbers_offset=24, numbers=3)
# The second feature is a sequence of two ids and their number.
ATTENTIVE = Layout(
    stride=32,
    ids=(IdBlock("f0", 0, 4), IdBlock("f1", 4, 9, 2), *(IdBlock(f"f{at}", 4 * at + 5, 4) for at in range(2, 6))),
    numbers_offset=29,
    numbers=3,
)
LAYOUTS = {"lr": NARROW, "din": ATTENTIVE}
NAMES: dict[str, dict[str, Any]] = {
    OWN: {"settings": {"user": "f0", "item": "f1", "width": 8}},
    "din": {"candidate": "f0", "history": "f1"},
}
# The first, third and fourth feature and the second number.
SHARED = np.array([*range(4), *range(8, 16), 25])
Rows = npt.NDArray[np.float32]


def graph_of(name: str, labels: int = 1) -> tuple[DenseGraph, dict[str, tuple[int, ...]]]:
    layout = LAYOUTS.get(name, LAYOUT)
    settings = SETTINGS[name] | NAMES.get(name, {})
    model = build_model(name, layout, labels, spec.Model.model_validate({"name": name} | settings), seed=1)
    content = export_graph(model, layout.stride)
    shapes = {weight: tuple(one.shape) for weight, one in zip(weight_names(model), model.weights, strict=True)}
    return DenseGraph(content, digest(content), SHARED), shapes


def version_of(graph: DenseGraph, shapes: dict[str, tuple[int, ...]], seed: int) -> DenseProgram:
    random = np.random.default_rng(seed)
    return graph.bind({name: random.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()})


def rows_of(count: int, seed: int = 0, *, shared: bool = False) -> Rows:
    rows = np.random.default_rng(seed).normal(0, 1, (count, LAYOUT.stride)).astype(np.float32)
    if shared:
        rows[:, SHARED] = rows[0, SHARED]
    return rows


def same(found: Rows, wanted: Rows) -> None:
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.fixture(scope="module", params=sorted(SETTINGS))
def model(request: pytest.FixtureRequest) -> tuple[str, DenseGraph, dict[str, tuple[int, ...]]]:
    return request.param, *graph_of(request.param)


def test_it_answers_as_tensorflow_does(model: tuple[str, DenseGraph, dict[str, tuple[int, ...]]]) -> None:
    name, graph, shapes = model
    for seed in (1, 2):
        program = version_of(graph, shapes, seed)
        assert program.runs_by != "tensorflow" or name not in BUILT_IN
        for count in (1, 7, 100, 7, 64):
            rows = rows_of(count, count)
            same(program.predict(rows), program.predict_by_tensorflow(rows))
            rows = rows_of(count, count, shared=True)
            same(program.predict(rows, shared=True), program.predict_by_tensorflow(rows))


def test_versions_of_one_graph_keep_their_weights() -> None:
    graph, shapes = graph_of("wdl")
    versions = [version_of(graph, shapes, seed) for seed in range(3)]
    rows = rows_of(9)
    wanted = [version.predict_by_tensorflow(rows) for version in versions]
    assert not np.allclose(wanted[0], wanted[1])

    def ask(worker: int) -> None:
        for turn in range(60):
            at = (worker + turn) % 3
            count = 1 + (worker + turn) % 9
            same(versions[at].predict(rows[:count]), wanted[at][:count])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))


def test_the_sizes_asked_for_last_are_made_ready() -> None:
    sizes = RecentSizes()
    assert sizes.all() == [1]
    for rows in (100, 50, 100, 7, 100, 8, 100):
        sizes.note(rows)
    assert sizes.all() == [7, 8, 100]
    graph, shapes = graph_of("wdl")
    for seed in range(6):
        version_of(graph, shapes, seed).predict(rows_of(3))
    assert graph._sizes.all() == [3]


def test_the_users_part_of_the_first_layer_is_computed_once() -> None:
    """The split program never sees the shared columns of other rows than the first."""
    graph, shapes = graph_of("lr")
    lr = version_of(graph, shapes, 1)
    rows = rows_of(5, shared=True)
    same(lr.predict(rows, shared=True), lr.predict_by_tensorflow(rows))
    graph = DenseGraph(*network(), SHARED)
    random = np.random.default_rng(5)
    weights = {"w": random.normal(size=(32, 8)).astype(np.float32), "v": random.normal(size=(8, 1)).astype(np.float32)}
    program = graph.bind(weights)
    wanted = program.predict_by_tensorflow(rows)
    rows[1:, SHARED] = np.nan
    same(program.predict(rows, shared=True), wanted)


def network() -> tuple[bytes, str]:
    graph = tf.Graph()
    with graph.as_default():
        entry = tf.compat.v1.placeholder(tf.float32, [None, 32], "input")
        w = tf.compat.v1.placeholder(tf.float32, [32, 8], "weight_0")
        v = tf.compat.v1.placeholder(tf.float32, [8, 1], "weight_1")
        tf.sigmoid(tf.matmul(tf.nn.relu(tf.matmul(entry, w)), v), name="prediction")
    content = bytes(graph.as_graph_def().SerializeToString())
    return content, digest(content)


def test_a_weight_that_is_folded_away_leaves_tensorflow() -> None:
    def folding(rows: Any, weight: Any) -> Any:
        return tf.matmul(rows, weight * weight)

    assert convert(folding, [4], [], [(4, 2)]) is None


def test_a_program_that_answers_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, shapes = graph_of("wdl")
    monkeypatch.setattr(LiteTemplate, "with_weights", lambda self, _: Converted(self.content, self.inputs))
    program = version_of(graph, shapes, 1)
    assert program.runs_by == "tensorflow"
    same(program.predict(rows_of(3)), program.predict_by_tensorflow(rows_of(3)))
