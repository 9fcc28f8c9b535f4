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


def chain(w: dict[str, Any], x: Any, name: str, depth: int) -> Any:
    """``depth`` ReLU layers called ``name``."""
    for each in range(depth):
        x = np.maximum(x @ w[f"{name}_{each}/kernel"] + w[f"{name}_{each}/bias"], 0)
    return x


@pytest.mark.parametrize("labels", [1, 3])
def test_wide_and_deep_is_its_formula(labels: int) -> None:
    model = build_model("wdl", WIDE, labels, spec.Model(name="wdl", hidden=(6, 3)), seed=1)
    w = weights(model)
    x = inputs(WIDE).astype(np.float64)
    wide = w["bias"] + x[:, 0:labels] + x[:, 4 : 4 + labels] + x[:, 8:10] @ w["numbers_kernel"]
    wanted = wide + chain(w, x, "hidden", 2) @ w["output/kernel"]
    np.testing.assert_allclose(model(inputs(WIDE)).numpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", [None, 2])
def test_dcnv2_is_its_formula(rank: int | None) -> None:
    settings = spec.Model(name="dcnv2", hidden=(6, 3), cross_layers=2, cross_rank=rank)
    model = build_model("dcnv2", WIDE, 2, settings, seed=1)
    w = weights(model)
    x = inputs(WIDE).astype(np.float64)
    crossed = x
    for depth in range(2):
        if rank is None:
            projected = crossed @ w[f"cross_{depth}_kernel"]
        else:
            projected = crossed @ w[f"cross_{depth}_reduce"] @ w[f"cross_{depth}_expand"]
        crossed = x * (projected + w[f"cross_{depth}_bias"]) + crossed
    wanted = crossed @ w["cross_output/kernel"] + w["cross_output/bias"]
    wanted = wanted + chain(w, x, "hidden", 2) @ w["output/kernel"]
    np.testing.assert_allclose(model(inputs(WIDE)).numpy(), wanted, rtol=1e-4, atol=1e-3)


def test_dlrm_is_its_formula() -> None:
    model = build_model("dlrm", WIDE, 2, spec.Model(name="dlrm", bottom=(5,), hidden=(6,)), seed=1)
    w = weights(model)
    x = inputs(WIDE).astype(np.float64)
    terms = [chain(w, x[:, 8:10], "bottom", 2), x[:, 0:4], x[:, 4:8]]
    pairs = [(one * other).sum(axis=1) for one, other in itertools.combinations(terms, 2)]
    top = chain(w, np.column_stack([terms[0], *pairs]), "hidden", 1)
    wanted = top @ w["output/kernel"] + w["output/bias"]
    np.testing.assert_allclose(model(inputs(WIDE)).numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_din_is_its_formula() -> None:
    layout = Layout(
        stride=32,
        ids=(IdBlock("user", 0, 2), IdBlock("history", 2, 3 * 4 + 1, 3), IdBlock("item", 15, 4)),
        numbers_offset=19,
        numbers=2,
    )
    settings = spec.Model(name="din", candidate="item", history="history", attention=(5,), hidden=(6,))
    model = build_model("din", layout, 2, settings, seed=1)
    w = weights(model)
    x = inputs(layout).astype(np.float64)
    x[1, 10:14] = 0  # two ids of three
    interest = np.zeros((5, 4))
    for place in range(3):
        item, candidate = x[:, 2 + 4 * place : 6 + 4 * place], x[:, 15:19]
        pair = np.column_stack([item, candidate, item - candidate, item * candidate])
        fits = chain(w, pair, "attention", 1) @ w["attention_output/kernel"] + w["attention_output/bias"]
        interest += fits * item
    top = chain(w, np.column_stack([x[:, :2], x[:, 15:], interest]), "hidden", 1)
    wanted = top @ w["output/kernel"] + w["output/bias"]
    np.testing.assert_allclose(model(x.astype(np.float32)).numpy(), wanted, rtol=1e-4, atol=1e-3)


def test_din_gives_a_place_without_an_id_no_part_in_anything() -> None:
    layout = Layout(16, (IdBlock("item", 0, 2), IdBlock("history", 2, 3 * 2 + 1, 3)), 9, 0)
    settings = spec.Model(name="din", candidate="item", history="history", attention=(4,), hidden=(4,))
    short = Layout(16, (IdBlock("item", 0, 2), IdBlock("history", 2, 1 * 2 + 1, 1)), 5, 0)
    long_model, short_model = (build_model("din", each, 1, settings, seed=1) for each in (layout, short))
    weights(long_model)
    x = np.zeros((4, 16), np.float32)
    x[:, :4] = np.random.default_rng(1).normal(size=(4, 4))
    # The padding of both inputs is zero, and so is what the network makes of it.
    for one, other in zip(long_model.weights, short_model.weights, strict=True):
        other.assign(one if one.shape == other.shape else _without_padding(one.numpy(), other.shape))
    np.testing.assert_allclose(long_model(x).numpy(), short_model(x).numpy(), rtol=1e-5)


def _without_padding(kernel: Any, shape: Any) -> Any:
    """The first kernel of the network for an input with other padding between the candidate and the interest."""
    wanted = np.zeros(shape, np.float32)
    wanted[:2], wanted[-2:] = kernel[:2], kernel[-2:]
    return wanted


def test_mmoe_is_its_formula() -> None:
    settings = spec.Model(name="mmoe", experts=3, hidden=(6, 5), tower=(4,))
    model = build_model("mmoe", WIDE, 2, settings, seed=1)
    w = weights(model)
    x = inputs(WIDE).astype(np.float64)
    experts = []
    for expert in range(3):
        inner = x
        for depth in range(2):
            kernel, bias = w[f"expert_{depth}_kernel"][expert], w[f"expert_{depth}_bias"][expert]
            inner = np.maximum(inner @ kernel + bias, 0)
        experts.append(inner)
    columns = []
    for label in range(2):
        gate = np.exp(x @ w["gates"][label])
        gate /= gate.sum(axis=1, keepdims=True)
        mixed = sum(gate[:, place : place + 1] * expert for place, expert in enumerate(experts))
        tower = np.maximum(mixed @ w["tower_0_kernel"][label] + w["tower_0_bias"][label], 0)
        columns.append(tower @ w["output_0_kernel"][label] + w["output_0_bias"][label])
    np.testing.assert_allclose(model(inputs(WIDE)).numpy(), np.hstack(columns), rtol=1e-3, atol=1e-3)


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
    with pytest.raises(Invalid, match="at least 5: a weight for each label"):
        build_model("wdl", WIDE, 4, spec.Model(name="wdl"), seed=1)
    with pytest.raises(Invalid, match="user=4, item=8"):
        build_model("dlrm", uneven, 1, spec.Model(name="dlrm"), seed=1)
    with pytest.raises(Invalid, match="no id feature"):
        build_model("dlrm", Layout(16, (), 0, 2), 1, spec.Model(name="dlrm"), seed=1)
    with pytest.raises(Invalid, match="an expert has no layer"):
        build_model("mmoe", WIDE, 1, spec.Model(name="mmoe", hidden=()), seed=1)
    din = spec.Model(name="din", candidate="user", history="item")
    with pytest.raises(Invalid, match="candidate `user`, history `item`"):
        build_model("din", WIDE, 1, din, seed=1)
    apart = Layout(16, (IdBlock("user", 0, 4), IdBlock("item", 4, 3 * 2 + 1, 3)), 11, 0)
    with pytest.raises(Invalid, match="rows of `user` have 4 values, those of `item` 2"):
        build_model("din", apart, 1, din, seed=1)
    for name in ("lr", "wdl", "deepfm", "dlrm"):
        with pytest.raises(Invalid, match="feature `item` is a sequence"):
            build_model(name, apart, 1, spec.Model(name=name), seed=1)
    with pytest.raises(Invalid, match="no model `other`"):
        build_model("other", WIDE, 1, spec.Model(), seed=1)
    with pytest.raises(ValueError, match="begins at column 5"):
        Layout(stride=16, ids=(IdBlock("user", 0, 4), IdBlock("item", 5, 4)), numbers_offset=9, numbers=0)
