"""The training step: predictions before the update, exact gradients, the same bits for the same batches."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infra import spec
from learner.models import IdBlock, Layout, build_model
from learner.step import TrainingStep
from tests.learner.aligned import aligned

LAYOUT = Layout(stride=16, ids=(IdBlock("user", 0, 1), IdBlock("item", 1, 1)), numbers_offset=2, numbers=3)
DEEP = Layout(stride=16, ids=(IdBlock("user", 0, 4), IdBlock("item", 4, 4)), numbers_offset=8, numbers=2)


def batch(rows: int, layout: Layout, seed: int = 0) -> tuple[Any, Any, Any]:
    generator = np.random.default_rng(seed)
    x = aligned(generator.normal(size=(rows, layout.stride)))
    x[:, layout.numbers_offset + layout.numbers :] = 0
    y = generator.integers(0, 2, size=(rows, 1)).astype(np.float32)
    return x, y, generator.uniform(0.5, 2, size=rows).astype(np.float32)


def logistic(seed: int = 1) -> TrainingStep:
    model = build_model("lr", LAYOUT, 1, spec.Model(name="lr"), seed)
    return TrainingStep(model, LAYOUT.stride, 1, spec.Optimizer(kind="adagrad", learning_rate=0.1))


def test_prediction_loss_and_gradients_of_logistic_regression() -> None:
    step = logistic()
    x, y, weight = batch(9, LAYOUT)
    y[4] = np.nan
    before = step.dense()
    result = step(x, y, weight)
    wide = x.astype(np.float64)
    logit = wide[:, 0] + wide[:, 1] + before["bias"] + wide[:, 2:5] @ before["numbers_kernel"][:, 0].astype(np.float64)
    p = 1 / (1 + np.exp(-logit))
    known = ~np.isnan(y[:, 0])
    truth = np.where(known, y[:, 0], 0)
    np.testing.assert_allclose(result.predictions[:, 0], p, rtol=1e-5)
    loss = np.where(known, -(truth * np.log(p) + (1 - truth) * np.log(1 - p)), 0)
    np.testing.assert_allclose(result.losses[:, 0], loss, rtol=1e-5)
    by_logit = np.where(known, p - truth, 0) * weight
    wanted = np.zeros((9, LAYOUT.stride))
    wanted[:, 0] = wanted[:, 1] = by_logit
    np.testing.assert_allclose(result.gradient[:, :2], wanted[:, :2], rtol=1e-5, atol=1e-7)
    assert not result.gradient[:, 5:].any()
    # The dense gradient is the weighted sum; Adagrad starts at n = 0.1.
    g = wide[:, 2:5].T @ by_logit
    np.testing.assert_allclose(
        np.asarray(step.dense()["numbers_kernel"][:, 0], np.float64),
        -0.1 * g / (np.sqrt(0.1 + g * g) + 1e-8),
        rtol=1e-5,
    )


def test_each_samples_gradient_is_its_own_whatever_the_batch() -> None:
    x, y, weight = batch(8, DEEP)
    model = build_model("deepfm", DEEP, 1, spec.Model(), seed=1)
    # A rate too small to change any weight: every call meets the same model.
    step = TrainingStep(model, DEEP.stride, 1, spec.Optimizer(learning_rate=1e-30))
    together = step(x, y, weight).gradient.copy()
    for row in range(8):
        alone = step(aligned(x[row : row + 1]), y[row : row + 1], weight[row : row + 1])
        np.testing.assert_allclose(alone.gradient[0], together[row], rtol=1e-4, atol=1e-6)


def test_batches_of_any_size_go_through_one_function_and_repeat_bit_for_bit() -> None:
    def run() -> tuple[list[bytes], dict[str, Any]]:
        model = build_model("deepfm", DEEP, 1, spec.Model(), seed=1)
        step = TrainingStep(model, DEEP.stride, 1, spec.Optimizer(kind="adam", learning_rate=0.01))
        gradients = [step(*batch(rows, DEEP, seed=rows)).gradient.tobytes() for rows in (1, 7, 64, 300, 2)]
        return gradients, step.dense()

    (first, weights), (second, again) = run(), run()
    assert first == second
    for name, weight in weights.items():
        np.testing.assert_array_equal(weight, again[name])


def test_a_restored_step_goes_on_bit_for_bit() -> None:
    def fresh() -> TrainingStep:
        model = build_model("deepfm", DEEP, 1, spec.Model(), seed=1)
        return TrainingStep(model, DEEP.stride, 1, spec.Optimizer(kind="adam", learning_rate=0.01))

    through, first = fresh(), fresh()
    for seed in range(4):
        through(*batch(5, DEEP, seed))
    for seed in range(2):
        first(*batch(5, DEEP, seed))
    second = fresh()
    second.load(first.dense())
    second.load_own(first.own_state())
    for seed in range(2, 4):
        second(*batch(5, DEEP, seed))
    for name, weight in through.dense().items():
        np.testing.assert_array_equal(weight, second.dense()[name])


@pytest.mark.parametrize("broken", [np.float32(1e20), np.float32(np.inf), np.float32(np.nan)])
def test_a_gradient_that_explodes_changes_no_weight(broken: np.float32) -> None:
    step = logistic()
    step(*batch(4, LAYOUT))
    before, state = step.dense(), step.optimizer.state()
    x, y, weight = batch(4, LAYOUT)
    x[2, 3] = broken
    assert step(x, y, weight).exploded
    for name, value in step.dense().items():
        np.testing.assert_array_equal(value, before[name])
    for name, slot in step.optimizer.state().items():
        np.testing.assert_array_equal(slot, state[name])
    assert not step(*batch(4, LAYOUT)).exploded


def test_memory_that_would_abort_the_process_is_refused() -> None:
    step = logistic()
    x, y, weight = batch(4, LAYOUT)
    shifted = aligned(np.zeros((5, 16))).reshape(-1)[1:65].reshape(4, 16)
    with pytest.raises(ValueError, match="aligned"):
        step(shifted, y, weight)
    with pytest.raises(ValueError, match="aligned"):
        step(x[:, ::2], y, weight)


def test_weights_of_another_model_are_refused() -> None:
    step = logistic()
    with pytest.raises(ValueError, match="wanted"):
        step.load({"bias": np.zeros(1, np.float32)})
    with pytest.raises(ValueError, match="shape"):
        step.load({"bias": np.zeros(1, np.float32), "numbers_kernel": np.zeros((4, 1), np.float32)})
