"""The chain of a graph is found whole and no longer than it goes; a graph cut around it answers as TensorFlow does."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from kernels.dense_layers import DenseLayers
from learner.export import digest
from serving import dense_chain
from serving.chain_program import PortableChain
from serving.dense_chain import Chain, reached
from serving.dense_program import DenseGraph, DenseProgram
from serving.program import PortableProgram
from serving.tensorflow_runtime import tf
from tests.learner.test_model_conformance import OWN, SETTINGS
from tests.serving.test_lite_programs import LAYOUT, SHARED, graph_of, rows_of, same, version_of
from tests.serving.test_lite_programs import network as stored_network

WIDTH = LAYOUT.stride
OWN_COLUMNS = np.setdiff1d(np.arange(WIDTH), SHARED)
Rows = npt.NDArray[np.float32]
Network = Callable[..., Any]

with_unit = pytest.mark.skipif(not DenseLayers.available(), reason="this processor has no matrix unit (AMX, bfloat16)")


def definition_of(network: Network, *shapes: tuple[int, ...]) -> Any:
    """A stored graph that computes ``network(rows, *weights)``."""
    graph = tf.Graph()
    with graph.as_default():
        rows = tf.compat.v1.placeholder(tf.float32, [None, WIDTH], "input")
        weights = [tf.compat.v1.placeholder(tf.float32, shape, f"weight_{index}") for index, shape in enumerate(shapes)]
        tf.identity(network(rows, *weights), name="prediction")
    return graph.as_graph_def()


def program_of(network: Network, *shapes: tuple[int, ...], scale: float = 0.4) -> DenseProgram:
    content = bytes(definition_of(network, *shapes).SerializeToString())
    random = np.random.default_rng(7)
    weights = {f"w{at}": random.normal(0, scale, shape).astype(np.float32) for at, shape in enumerate(shapes)}
    return DenseGraph(content, digest(content), SHARED).bind(weights)


def network(rows: Any, first: Any, bias: Any, second: Any, last: Any) -> Any:
    hidden = tf.nn.relu(tf.matmul(rows, first) + bias)
    return tf.sigmoid(tf.nn.bias_add(tf.identity(tf.matmul(tf.identity(hidden), second)), last))


def test_layers_are_found_with_their_biases_past_identities() -> None:
    (chain,) = Chain.of(definition_of(network, (WIDTH, 9), (9,), (9, 2), (2,)))
    assert (chain.source, chain.sigmoid, chain.last) == ("input:0", True, True)
    assert [(one.weight, one.bias, one.relu) for one in chain.layers] == [(0, 1, True), (2, 3, False)]


def test_chains_come_by_weight_if_they_are_worth_it() -> None:
    def two(rows: Any, thin: Any, wide: Any, last: Any) -> Any:
        return tf.matmul(rows, thin) + tf.matmul(tf.nn.relu(tf.matmul(rows, wide)), last)

    (heavy,) = Chain.of(definition_of(two, (WIDTH, 1), (WIDTH, 1024), (1024, 1)))
    assert [one.weight for one in heavy.layers] == [1, 2] and not heavy.last
    assert Chain.of(definition_of(two, (WIDTH, 1), (WIDTH, 512), (512, 1))) == []
    first, second = Chain.of(definition_of(two, (WIDTH, 1100), (WIDTH, 1200), (1200, 1100)))
    assert [one.weight for one in first.layers] == [1, 2]
    assert [one.weight for one in second.layers] == [0]


@pytest.mark.parametrize("case", ["read twice", "transposed", "wrong bias", "product of two", "other cut"])
def test_a_chain_goes_no_further_than_it_is_one(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_chain, "FEWEST_WEIGHTS", 0)

    def cut(rows: Any, first: Any, second: Any, bias: Any) -> Any:
        hidden = tf.matmul(rows, first)
        if case == "wrong bias":  # one number for all columns
            hidden = hidden + bias
        hidden = tf.nn.relu6(hidden) if case == "other cut" else tf.nn.relu(hidden)
        if case == "transposed":
            return tf.matmul(hidden, second, transpose_b=True)
        if case == "product of two":
            return tf.matmul(hidden, second * 2.0)
        return tf.matmul(hidden, second) + (tf.reduce_sum(hidden) if case == "read twice" else 0.0)

    second = (4, 8) if case == "transposed" else (8, 4)
    chain = next(one for one in Chain.of(definition_of(cut, (WIDTH, 8), second, (1,))) if one.layers[0].weight == 0)
    assert len(chain.layers) == 1
    assert chain.layers[0].bias is None
    assert chain.layers[0].relu is (case not in ("wrong bias", "other cut"))


def test_a_graph_without_products_with_weights_has_no_chain() -> None:
    assert Chain.of(definition_of(lambda rows, weight: tf.sigmoid(rows * weight), (WIDTH,))) == []
    assert Chain.of(definition_of(lambda rows: tf.matmul(rows, rows, transpose_b=True))) == []


def test_what_the_predictions_do_not_need_breaks_no_chain() -> None:
    def plain(rows: Any, first: Any, second: Any) -> Any:
        hidden = tf.matmul(rows, first)
        tf.nn.softmax(hidden)
        return tf.matmul(hidden, second)

    (chain,) = Chain.of(definition_of(plain, (WIDTH, 9), (9, 2)))
    assert chain.whole and len(chain.layers) == 2


def test_a_sigmoid_that_is_the_output_itself_belongs_to_the_chain() -> None:
    graph = tf.compat.v1.GraphDef.FromString(stored_network()[0])
    (chain,) = Chain.of(graph)
    assert (chain.target, chain.sigmoid, chain.whole) == ("prediction:0", True, True)


def test_what_a_tensor_is_made_of_ends_at_what_is_given() -> None:
    graph = definition_of(network, (WIDTH, 9), (9,), (9, 2), (2,))
    (chain,) = Chain.of(graph)
    assert reached(graph, "prediction:0") == {"input", "weight_0", "weight_1", "weight_2", "weight_3"}
    assert reached(graph, "prediction:0", [chain.target]) == frozenset()
    assert reached(graph, "prediction:0", [f"{chain.layers[1].node}:0"]) == {"weight_3"}


@with_unit
@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"mmoe"}))
def test_every_model_cut_around_its_chain_answers_as_tensorflow(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mmoe` has none: its experts are one product of three dimensions."""
    monkeypatch.setattr(dense_chain, "FEWEST_WEIGHTS", 0)
    graph, shapes = graph_of(name)
    for seed in (1, 2, 3):
        program = version_of(graph, shapes, seed)
        assert program.runs_by == "matrix_unit" or name == OWN
        for count in (1, 7, 100, 7, 33):
            for shared in (False, True):
                rows = rows_of(count, count, shared=shared)
                same(program.predict(rows, shared=shared), program.predict_by_tensorflow(rows))


def looked_up(program: DenseProgram, rows: Rows) -> Rows:
    """Predictions of rows that are handed over in halves."""
    halves = program.looked_up
    assert halves is not None

    def lookup(own: Rows, shared: Rows) -> None:
        own[:] = rows[:, OWN_COLUMNS]
        shared[:] = rows[0, SHARED]

    return halves.predict_looked_up(len(rows), lookup)


@pytest.mark.parametrize("unit", [pytest.param(True, marks=with_unit), False])
@pytest.mark.parametrize("beside", [False, True])
def test_rows_in_halves_meet_the_chain_and_what_is_beside_it(
    unit: bool, beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two first layers that are split one begins the chain, the other is left to what is behind it."""
    monkeypatch.setattr(dense_chain, "FEWEST_WEIGHTS", 0)
    if not unit:
        monkeypatch.setattr(DenseLayers, "available", lambda: False)

    def joined(rows: Any, deep: Any, last: Any, wide: Any) -> Any:
        return tf.sigmoid(tf.matmul(tf.nn.relu(tf.matmul(rows, deep)), last) + tf.matmul(rows, wide))

    def alone(rows: Any, deep: Any, last: Any) -> Any:
        return tf.nn.softmax(tf.matmul(tf.nn.relu(tf.matmul(rows, deep)), last))

    shapes = (WIDTH, 24), (24, 2)
    program = program_of(joined, *shapes, (WIDTH, 2)) if beside else program_of(alone, *shapes)
    assert program.runs_by == ("matrix_unit" if unit else "litert")
    for count in (1, 40, 7):
        rows = rows_of(count, count, shared=True)
        wanted = program.predict_by_tensorflow(rows)
        same(looked_up(program, rows), wanted)
        same(program.predict(rows, shared=True), wanted)
        rows = rows_of(count, count)
        same(program.predict(rows), program.predict_by_tensorflow(rows))


@with_unit
@pytest.mark.parametrize(("width", "scale", "parts"), [(1024, 0.02, 2), (1024, 0.4, 3), (64, 0.02, 3)])
def test_numbers_are_in_as_many_parts_as_is_wanted_and_pays(width: int, scale: float, parts: int) -> None:
    program = program_of(network, (WIDTH, width), (width,), (width, 2), (2,), scale=scale)
    portable = program.portable()
    assert isinstance(portable, PortableProgram) and isinstance(portable.whole, PortableChain)
    assert portable.whole.parts == parts


@with_unit
def test_what_is_needed_on_both_sides_is_not_computed_twice() -> None:
    """A block that adds its input to what it makes: the first product would be before the chain and behind it."""

    def block(rows: Any, first: Any, second: Any, third: Any, last: Any) -> Any:
        entry = tf.nn.relu(tf.matmul(rows, first))
        return tf.sigmoid(tf.matmul(entry + tf.matmul(tf.nn.relu(tf.matmul(entry, second)), third), last))

    program = program_of(block, (WIDTH, 256), (256, 128), (128, 256), (256, 1))
    assert program.runs_by == "litert"
    rows = rows_of(9)
    same(program.predict(rows), program.predict_by_tensorflow(rows))


@with_unit
def test_where_the_heaviest_chain_cannot_be_cut_out_the_next_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_chain, "FEWEST_WEIGHTS", 0)

    def two(rows: Any, first: Any, second: Any, third: Any, last: Any) -> Any:
        entry = tf.nn.relu(tf.matmul(rows, first))
        return tf.matmul(tf.nn.softmax(entry + tf.matmul(tf.nn.relu(tf.matmul(entry, second)), third)), last)

    program = program_of(two, (WIDTH, 64), (64, 128), (128, 64), (64, 1))
    assert program.runs_by == "matrix_unit"
    for shared in (False, True):
        rows = rows_of(9, shared=shared)
        same(program.predict(rows, shared=shared), program.predict_by_tensorflow(rows))


@with_unit
def test_a_chain_that_answers_otherwise_is_left_to_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = (WIDTH, 9), (9,), (9, 2), (2,)
    assert program_of(network, *shapes).runs_by == "matrix_unit"
    run = DenseLayers.run
    monkeypatch.setattr(DenseLayers, "run", lambda self, rows, shared=None: run(self, rows, shared) + np.float32(1e-3))
    program = program_of(network, *shapes)
    assert program.runs_by == "litert"
    same(program.predict(rows_of(3)), program.predict_by_tensorflow(rows_of(3)))
