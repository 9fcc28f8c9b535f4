"""The models against their formulas written out in numpy."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from infra import spec
from infra.errors import Invalid
from learner.models import IdBlock, Layout, build_model

WIDE = Layout(stride=16, ids=(IdBlock("user", 0, 4), IdBlock("item", 4, 4)), numbers_offset=8, numbers=2)
NARROW = Layout(stride=16, ids=(IdBlock("user", 0, 1), IdBlock("item", 1, 1)), numbers_offset=2, numbers=3)


def inputs(layout: Layout, rows: int = 5) -> Any:
    x = np.random.default_rng(7).normal(size=(rows, layout.stride)).astype(np.float32)
    x[:, layout.numbers_offset + layout.numbers :] = 0
    return x


def weights(model: Any, seed: int = 3) -> dict[str, Any]:
    """Gives every weight a value of its own, and returns them by name in float64."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(generator.normal(size=weight.shape).astype(np.float32))
    return {weight.path.split("/", 1)[1]: np.asarray(weight.numpy(), np.float64) for weight in model.weights}


def test_logistic_regression_is_its_formula() -> None:
    model = build_model("lr", NARROW, 1, spec.Model(name="lr"), seed=1)
    w = weights(model)
    x = inputs(NARROW).astype(np.float64)
    wanted = w["bias"] + x[:, 0:1] + x[:, 1:2] + x[:, 2:5] @ w["numbers_kernel"]
    np.testing.assert_allclose(model(inputs(NARROW)).numpy(), wanted, rtol=1e-5)


def test_logistic_regression_predicts_one_half_before_it_has_learned() -> None:
    model = build_model("lr", NARROW, 1, spec.Model(name="lr"), seed=1)
    x = inputs(NARROW)
    x[:, :2] = 0
    np.testing.assert_array_equal(model(x).numpy(), np.zeros((5, 1), np.float32))


@pytest.mark.parametrize("hidden", [(), (3,), (6, 3)])
def test_deepfm_is_its_formula(hidden: tuple[int, ...]) -> None:
    model = build_model("deepfm", WIDE, 1, spec.Model(hidden=hidden), seed=1)
    w = weights(model)
    x = inputs(WIDE).astype(np.float64)
    blocks = [x[:, 0:4], x[:, 4:8]]
    wanted = w["bias"] + sum(block[:, :1] for block in blocks) + x[:, 8:10] @ w["numbers_kernel"]
    for one, other in itertools.combinations(blocks, 2):
        wanted = wanted + (one[:, 1:] * other[:, 1:]).sum(axis=1, keepdims=True)
    if hidden:
        inner = x
        for depth in range(len(hidden)):
            inner = np.maximum(inner @ w[f"hidden_{depth}/kernel"] + w[f"hidden_{depth}/bias"], 0)
        wanted = wanted + inner @ w["output/kernel"]
    np.testing.assert_allclose(model(inputs(WIDE)).numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_deepfm_works_without_numbers_and_without_ids() -> None:
    ids_only = Layout(stride=16, ids=WIDE.ids, numbers_offset=8, numbers=0)
    numbers_only = Layout(stride=16, ids=(), numbers_offset=0, numbers=2)
    for layout in (ids_only, numbers_only):
        model = build_model("deepfm", layout, 1, spec.Model(), seed=1)
        assert model(inputs(layout)).shape == (5, 1)


def test_the_same_seed_gives_the_same_weights_and_another_gives_others() -> None:
    def first(seed: int) -> Any:
        return build_model("deepfm", WIDE, 1, spec.Model(), seed=seed).weights[2].numpy()

    np.testing.assert_array_equal(first(5), first(5))
    assert not np.array_equal(first(5), first(6))


def test_what_does_not_fit_is_refused_with_the_cure() -> None:
    with pytest.raises(Invalid, match=r"dim 4.*dim: 1"):
        build_model("lr", WIDE, 1, spec.Model(name="lr"), seed=1)
    with pytest.raises(Invalid, match="no factor"):
        build_model("deepfm", NARROW, 1, spec.Model(), seed=1)
    uneven = Layout(stride=16, ids=(IdBlock("user", 0, 4), IdBlock("item", 4, 8)), numbers_offset=12, numbers=0)
    with pytest.raises(Invalid, match="user=4, item=8"):
        build_model("deepfm", uneven, 1, spec.Model(), seed=1)
    with pytest.raises(Invalid, match="one kind of feedback"):
        build_model("deepfm", WIDE, 2, spec.Model(), seed=1)
    with pytest.raises(Invalid, match="no model `other`"):
        build_model("other", WIDE, 1, spec.Model(), seed=1)
    with pytest.raises(ValueError, match="begins at column 5"):
        Layout(stride=16, ids=(IdBlock("user", 0, 4), IdBlock("item", 5, 4)), numbers_offset=9, numbers=0)
