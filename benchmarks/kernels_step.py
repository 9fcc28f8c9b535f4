"""A whole training step with the engine's tables against the same network without them; needs TensorFlow."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.figures import Figure
from benchmarks.kernels_tfra import tfra_step
from benchmarks.kernels_workload import COLUMNS, DIM, KEYS, NUMBERS, ROWS, prefilled, rank_batches, sample_batches

HIDDEN = (256, 128)
ROUNDS = 60
BATCHES = 20
SAMPLE = f"{COLUMNS} ids x dim {DIM} + {NUMBERS} numbers, batch {ROWS}, MLP 256-128, Adagrad"


def step_figures() -> Iterator[Figure]:
    """step_vs_constant_input, step_vs_static_variable and step_vs_tfra, each by paired rounds that alternate."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from learner.tensorflow_setup import tf

    labels = tf.constant((np.random.default_rng(5).random((ROWS, 1)) < 0.3).astype(np.float32))
    tables = prefilled(2)
    batches = sample_batches(BATCHES)
    network = _network(tf, tables.stride)

    def with_input(inputs: Any) -> Any:
        return _learn(tf, network, inputs, labels)

    concrete = tf.function(with_input, autograph=False).get_concrete_function(
        tf.TensorSpec([None, tables.stride], tf.float32)
    )
    constant = tf.constant(np.random.default_rng(6).standard_normal((ROWS, tables.stride)).astype(np.float32))

    def engine(turn: int) -> None:
        tables.prepare(batches[turn % BATCHES])
        rows = tables.lookup()
        shared = tf.experimental.dlpack.from_dlpack(tables.buffer[:rows].__dlpack__())
        tables.apply(np.asarray(concrete(shared)), 1)

    def bare(turn: int) -> None:
        np.asarray(concrete(constant))

    yield Figure(
        "step_vs_constant_input",
        _paired(bare, engine),
        "x",
        0.85,
        ">=",
        f"{SAMPLE}, zipf 1.2 over 1e6 pre-filled ids; the same function fed a constant; {os.cpu_count()} cores",
    )
    yield Figure(
        "step_vs_static_variable",
        _paired(_static_step(tf, labels), engine),
        "x",
        1.4,
        ">=",
        f"{SAMPLE}; one tf.Variable of 1e6 rows per table, ids dense already, de-duplicated sparse Adagrad",
    )
    with tfra_step(batches, labels.numpy()) as step:
        yield Figure(
            "step_vs_tfra",
            _paired(step, engine),
            "x",
            3.0,
            ">=",
            f"{SAMPLE}; Recommenders-Addons 0.8.1 on TensorFlow 2.16.2, in a process of its own",
        )


def _static_step(tf: Any, labels: Any) -> Callable[[int], object]:
    """The step with one variable per table; its memory goes when the call is let go."""
    variables = [tf.Variable(tf.random.stateless_normal([KEYS, DIM], [1, i]) * 0.01) for i in range(COLUMNS)]
    sums = [tf.Variable(tf.fill([KEYS, DIM], 0.1)) for _ in range(COLUMNS)]
    ranks = [tf.constant(of) for of in rank_batches(BATCHES)]
    numbers = tf.constant(np.random.default_rng(2).standard_normal((ROWS, NUMBERS)).astype(np.float32))
    plain = _network(tf, COLUMNS * DIM + NUMBERS)

    def with_variables(ids: Any) -> Any:
        looked_up = [tf.gather(variable, ids[i]) for i, variable in enumerate(variables)]
        gradient = _learn(tf, plain, tf.concat([*looked_up, numbers], axis=1), labels)
        for i, (variable, total) in enumerate(zip(variables, sums, strict=True)):
            unique, place = tf.unique(ids[i])
            summed = tf.math.unsorted_segment_sum(gradient[:, i * DIM : (i + 1) * DIM], place, tf.size(unique))
            tf.raw_ops.ResourceSparseApplyAdagradV2(
                var=variable.handle, accum=total.handle, lr=0.05, epsilon=1e-8, grad=summed, indices=unique
            )
        return gradient

    ready = tf.function(with_variables, autograph=False).get_concrete_function(tf.TensorSpec([COLUMNS, ROWS], tf.int64))
    return lambda turn: ready(ranks[turn % BATCHES])


def _network(tf: Any, width: int) -> list[Any]:
    """Weights, biases and their Adagrad sums."""
    weights = []
    for size, to in zip((width, *HIDDEN), (*HIDDEN, 1), strict=True):
        weights += [
            tf.Variable(tf.random.stateless_normal([size, to], [7, size]) * size**-0.5),
            tf.Variable(tf.zeros(to)),
        ]
    return [(weight, tf.Variable(tf.fill(weight.shape, 0.1))) for weight in weights]


def _learn(tf: Any, network: list[Any], inputs: Any, labels: Any) -> Any:
    """One step of the network; returns the gradient of its input."""
    weights = [weight for weight, _ in network]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        tape.watch(weights)
        hidden = inputs
        for i in range(0, len(weights), 2):
            hidden = tf.matmul(hidden, weights[i]) + weights[i + 1]
            hidden = tf.nn.relu(hidden) if i + 2 < len(weights) else hidden
        loss = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=hidden))
    gradient, *dense = tape.gradient(loss, [inputs, *weights])
    for (weight, total), of_weight in zip(network, dense, strict=True):
        weight.assign_sub(0.005 * of_weight / (tf.sqrt(total.assign_add(tf.square(of_weight))) + 1e-8))
    return gradient


def _paired(other: Callable[[int], object], engine: Callable[[int], object]) -> float:
    """Median of the other's time over the engine's, turn by turn."""
    ratios = []
    for turn in range(ROUNDS + 5):
        begin = time.perf_counter()
        other(turn)
        middle = time.perf_counter()
        engine(turn)
        ratios.append((middle - begin) / (time.perf_counter() - middle))
    return statistics.median(ratios[5:])
