"""Adagrad and Adam against golden vectors and an independent float64 computation."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

from kernels import _core
from kernels.batch import EncodedBatch
from kernels.optimizer_settings import OPTIMIZER_KINDS, OptimizerKind
from kernels.tables import ColumnSettings, EmbeddingTables, InitializerSettings, OptimizerSettings, TableSettings

# Two coordinates over three steps, computed once on Python floats with the formulas written out.
GRADIENTS = ([0.5, -2.0], [-0.25, 0.0], [1.0, 3.0])
ADAGRAD_GOLDEN = ([0.915484576, 1.098772959], [0.954409523, 1.098772959], [0.870268891, 1.015886115])
ADAM_GOLDEN = ([0.900000002, 1.1], [0.873366299, 1.167005824], [0.80755514, 1.14254815])


def one_row(optimizer: OptimizerSettings, dim: int = 2) -> EmbeddingTables:
    table = TableSettings("t", dim, 1, InitializerSettings("constant", 1.0), optimizer)
    return EmbeddingTables([table], [ColumnSettings("c", "t", "sum")], 0, 8)


def step(tables: EmbeddingTables, gradient: list[float], keys: list[int] | None = None) -> None:
    ids = np.array(keys if keys is not None else [7], np.int64)
    tables.prepare(EncodedBatch(len(ids), (ids,), (None,), np.empty((len(ids), 0), np.float32)))
    tables.lookup()
    full = np.zeros((len(ids), tables.stride), np.float32)
    full[:, : len(gradient)] = gradient
    tables.apply(full, 0)


def test_adagrad_golden_vectors() -> None:
    tables = one_row(OptimizerSettings("adagrad", 0.1, initial_accumulator=0.1, epsilon=1e-8))
    for gradient, wanted in zip(GRADIENTS, ADAGRAD_GOLDEN, strict=True):
        step(tables, gradient)
        np.testing.assert_allclose(tables.export("t").values[0], wanted, rtol=2e-7)
    np.testing.assert_allclose(tables.export("t").slots[0], [0.1 + 0.25 + 0.0625 + 1, 0.1 + 4 + 9], rtol=1e-7)


def test_adam_golden_vectors() -> None:
    tables = one_row(OptimizerSettings("adam", 0.1, beta1=0.9, beta2=0.999, epsilon=1e-8))
    for gradient, wanted in zip(GRADIENTS, ADAM_GOLDEN, strict=True):
        step(tables, gradient)
        np.testing.assert_allclose(tables.export("t").values[0], wanted, rtol=5e-7)
    assert tables.export("t").slots[0, -1] == 3


@pytest.mark.parametrize("dim", [1, 4, 5, 8, 16, 32, 64, 100])
@pytest.mark.parametrize("kind", ["adagrad", "adam"])
def test_many_steps_stay_near_float64(kind: str, dim: int) -> None:
    optimizer = OptimizerSettings(kind, 0.05)  # type: ignore[arg-type]
    tables = one_row(optimizer, dim)
    random = np.random.default_rng(dim)
    w, first, second = np.ones(dim), np.zeros(dim), np.full(dim, 0.1 if kind == "adagrad" else 0.0)
    for t in range(1, 61):
        gradient = random.standard_normal(dim).astype(np.float32)
        step(tables, gradient.tolist())
        g = gradient.astype(np.float64)
        if kind == "adagrad":
            second += g * g
            w -= 0.05 * g / (np.sqrt(second) + 1e-8)
        else:
            first = 0.9 * first + 0.1 * g
            second = 0.999 * second + 0.001 * g * g
            w -= 0.05 * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(tables.export("t").values[0], w, rtol=0, atol=3e-6)


def test_first_adam_step_is_the_learning_rate_whatever_the_scale() -> None:
    for scale in (1e-6, 1.0, 1e6):
        tables = one_row(OptimizerSettings("adam", 0.1, epsilon=1e-30))
        step(tables, [scale, -scale])
        np.testing.assert_allclose(tables.export("t").values[0], [0.9, 1.1], rtol=1e-6)


def test_adam_counts_steps_per_row_not_globally() -> None:
    tables = one_row(OptimizerSettings("adam", 0.1))
    for _ in range(50):
        step(tables, [1.0, 1.0], keys=[1])
    step(tables, [1.0, 1.0], keys=[2])
    rows = tables.export("t")
    late = rows.values[rows.keys.tolist().index(2)]
    np.testing.assert_allclose(late, [0.9, 0.9], rtol=1e-6)


def test_adam_goes_on_beyond_its_table_of_corrections() -> None:
    """The 4096th step and later compute their corrections on the spot; both ways must meet."""
    settings = OptimizerSettings("adam", 0.001, beta1=0.9, beta2=0.9999)
    tables = one_row(settings, 1)
    for _ in range(4090):
        step(tables, [1.0])
    w = float(tables.export("t").values[0, 0])
    for _ in range(20):
        step(tables, [1.0])
        now = float(tables.export("t").values[0, 0])
        assert math.isclose(w - now, 0.001, rel_tol=1e-3)
        w = now


def test_repeats_are_summed_before_one_update() -> None:
    optimizer = OptimizerSettings("adagrad", 0.1, epsilon=1e-8)
    many, once = one_row(optimizer), one_row(optimizer)
    step(many, [0.5, 1.0], keys=[3, 3, 3, 3])
    step(once, [2.0, 4.0], keys=[3])
    np.testing.assert_array_equal(many.export("t").values, once.export("t").values)
    assert many.export("t").frequency.tolist() == [4]


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    tables = one_row(OptimizerSettings("adagrad", 0.1))
    step(tables, [1.0, 1.0])
    tables.capture()
    before = tables.export("t")
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="table 't' is not finite"):
            step(tables, [1.0, bad])
    after = tables.export("t")
    np.testing.assert_array_equal(before.values, after.values)
    np.testing.assert_array_equal(before.slots, after.slots)
    assert not len(tables.capture()[0].keys)


@pytest.mark.parametrize("kind", OPTIMIZER_KINDS)
@pytest.mark.parametrize("dim", [1, 7, 16, 33, 64])
def test_every_instruction_set_rounds_alike(kind: OptimizerKind, dim: int) -> None:
    def train() -> bytes:
        settings = TableSettings("t", dim, 5, optimizer=OptimizerSettings(kind, 0.05))
        tables = EmbeddingTables([settings], [ColumnSettings("c", "t", "mean")], 0, 64)
        random = np.random.default_rng(1)
        for _ in range(10):
            ids = random.integers(0, 30, 100)
            splits = np.sort(np.append(random.integers(0, 101, 63), [0, 100])).astype(np.int32)
            tables.prepare(EncodedBatch(64, (ids,), (splits,), np.empty((64, 0), np.float32)))
            tables.lookup()
            gradient = random.standard_normal((64, tables.stride)).astype(np.float32) * tables.buffer[:64]
            tables.apply(np.ascontiguousarray(gradient), 0)
        rows = tables.export("t")
        return rows.values.tobytes() + rows.slots.tobytes()

    try:
        results = {name: train() for name in ("portable", "avx2", "avx512") if _core.select_instruction_set(name)}
    finally:
        _core.select_instruction_set("fastest")
    assert len(set(results.values())) == 1
