"""The dense update rules against their formulas in float64."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infra import spec
from kernels.optimizer_settings import OPTIMIZER_KINDS
from learner.optimizers import build_optimizer
from learner.tensorflow_setup import tf

GRADIENTS = np.random.default_rng(11).normal(size=(6, 4)) * np.array([1e-4, 0.1, 1.0, 30.0])
START = np.array([0.5, -0.25, 0.0, 2.0])


def adagrad(settings: spec.Optimizer) -> Any:
    w, n = START.copy(), np.full(4, settings.initial_accumulator)
    for g in GRADIENTS:
        n += g * g
        w -= settings.learning_rate * g / (np.sqrt(n) + settings.epsilon)
    return w


def adam(settings: spec.Optimizer) -> Any:
    w, m, v = START.copy(), np.zeros(4), np.zeros(4)
    for t, g in enumerate(GRADIENTS, start=1):
        m = settings.beta1 * m + (1 - settings.beta1) * g
        v = settings.beta2 * v + (1 - settings.beta2) * g * g
        corrected = np.sqrt(v / (1 - settings.beta2**t)) + settings.epsilon
        w -= settings.learning_rate * m / (1 - settings.beta1**t) / corrected
    return w


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        (spec.Optimizer(kind="adagrad", learning_rate=0.1), adagrad),
        # An epsilon that matters: it stands outside the root.
        (spec.Optimizer(kind="adagrad", learning_rate=0.1, epsilon=0.5, initial_accumulator=0.0), adagrad),
        (spec.Optimizer(kind="adam", learning_rate=0.01), adam),
        # An epsilon that matters: it stands outside the bias correction.
        (spec.Optimizer(kind="adam", learning_rate=0.01, epsilon=0.5), adam),
    ],
)
def test_the_rule_is_its_formula(settings: spec.Optimizer, reference: Any) -> None:
    variable = tf.Variable(START.astype(np.float32))
    optimizer = build_optimizer([variable], settings)
    for gradient in GRADIENTS:
        optimizer.apply(variable.numpy(), gradient.astype(np.float32))
    np.testing.assert_allclose(variable.numpy(), reference(settings), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("kind", OPTIMIZER_KINDS)
def test_a_restored_rule_goes_on_bit_for_bit(kind: Any) -> None:
    settings = spec.Optimizer(kind=kind, learning_rate=0.1)
    through, first = tf.Variable(START.astype(np.float32)), tf.Variable(START.astype(np.float32))
    whole, half = build_optimizer([through], settings), build_optimizer([first], settings)
    gradients = [gradient.astype(np.float32) for gradient in GRADIENTS]
    for gradient in gradients:
        whole.apply(through.numpy(), gradient)
    for gradient in gradients[:3]:
        half.apply(first.numpy(), gradient)
    second = tf.Variable(first.numpy())
    resumed = build_optimizer([second], settings)
    resumed.load(half.state())
    for gradient in gradients[3:]:
        resumed.apply(second.numpy(), gradient)
    np.testing.assert_array_equal(second.numpy(), through.numpy())


@pytest.mark.parametrize("kind", OPTIMIZER_KINDS)
def test_weights_learn_together_as_each_alone(kind: Any) -> None:
    settings = spec.Optimizer(kind=kind, learning_rate=0.1)
    shapes = [(3, 5), (), (0,), (7,), (1, 1)]
    generator = np.random.default_rng(5)
    starts = [generator.normal(size=shape).astype(np.float32) for shape in shapes]
    alone, together = [tf.Variable(start) for start in starts], [tf.Variable(start) for start in starts]
    rules, rule = [build_optimizer([variable], settings) for variable in alone], build_optimizer(together, settings)
    for _ in range(3):
        gradients = [generator.normal(size=shape).astype(np.float32) for shape in shapes]
        for single, variable, gradient in zip(rules, alone, gradients, strict=True):
            single.apply(variable.numpy().reshape(-1), gradient.reshape(-1))
        rule.apply(np.asarray(rule.weights()), np.concatenate([gradient.reshape(-1) for gradient in gradients]))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_model_without_dense_weights_learns_none() -> None:
    rule = build_optimizer([], spec.Optimizer())
    rule.apply(np.asarray(rule.weights()), np.empty(0, np.float32))
    assert list(rule.state()) == ["step"]


def test_the_state_of_another_model_is_refused() -> None:
    settings = spec.Optimizer()
    small = build_optimizer([tf.Variable(tf.zeros(2))], settings)
    large = build_optimizer([tf.Variable(tf.zeros(3))], settings)
    adam_state = build_optimizer([tf.Variable(tf.zeros(2))], spec.Optimizer(kind="adam")).state()
    with pytest.raises(ValueError, match="shape"):
        large.load(small.state())
    with pytest.raises(ValueError, match="shape"):
        small.load(adam_state)
    with pytest.raises(ValueError, match="wanted"):
        small.load({"count": np.zeros(1)})
