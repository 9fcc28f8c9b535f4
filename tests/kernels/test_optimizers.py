"""Every optimizer against textbook formulas in float64, written from the papers alone, and what each promises."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.optimizer_settings import (
    OPTIMIZER_KINDS,
    SMALLEST_EPSILON,
    OptimizerKind,
    OptimizerSettings,
    ScheduleSettings,
)
from kernels.tables import ColumnSettings, EmbeddingTables, InitializerSettings, TableSettings

Array = NDArray[np.float64]
DIM = 5
BEGIN = 0.3
GRADIENTS = np.random.default_rng(3).standard_normal((7, DIM))


def trained(optimizer: OptimizerSettings, gradients: Array, begin: float = BEGIN) -> Iterator[NDArray[np.float32]]:
    """The values of one row after each gradient, from the engine."""
    table = TableSettings("t", gradients.shape[1], 1, InitializerSettings("constant", begin), optimizer)
    tables = EmbeddingTables([table], [ColumnSettings("c", "t", "sum")], 0, 1)
    for gradient in gradients:
        tables.prepare(EncodedBatch(1, (np.array([7]),), (None,), np.empty((1, 0), np.float32)))
        tables.lookup()
        full = np.zeros((1, tables.stride), np.float32)
        full[0, : len(gradient)] = gradient
        tables.apply(full, 0)
        yield tables.export("t").values[0]


def textbook(o: OptimizerSettings) -> Iterator[Array]:  # noqa: PLR0912
    """The same in float64."""
    w = np.full(DIM, BEGIN)
    a, b1, b2, eps = o.learning_rate, o.beta1, o.beta2, o.epsilon
    m, v, z, n = np.zeros(DIM), np.zeros(DIM), np.zeros(DIM), np.full(DIM, o.initial_accumulator)
    q_before, row_n = np.zeros(DIM), o.initial_accumulator
    # As if the initial values had been learned.
    if o.kind == "ftrl":
        z = -w * ((o.beta + np.sqrt(n)) / a + o.l2)
    elif o.kind == "group_ftrl":
        z = -w * (np.sqrt(n) / a + 2 * o.l2)
    for t, g in enumerate(GRADIENTS, start=1):
        m_hat = (b1 * m + (1 - b1) * g) / (1 - b1**t)
        v_hat = (b2 * v + (1 - b2) * g**2) / (1 - b2**t)
        if o.kind == "sgd":
            w = w - a * g
        elif o.kind == "momentum":
            v = b1 * v + g
            w = w - a * v
        elif o.kind == "nesterov":
            # Before the change of variables: the gradient is taken at w, which is ahead of u by the momentum.
            before, v = v, b1 * v - a * g
            w = w + v + b1 * (v - before)
        elif o.kind == "rowwise_adagrad":
            row_n += (g**2).mean()
            w = w - a * g / (math.sqrt(row_n) + eps)
        elif o.kind in ("adagrad", "adagrad_decay"):
            if o.kind == "adagrad_decay" and t > 1 and (t - 1) % o.decay_steps == 0:
                n = np.maximum(o.decay_rate * n, o.initial_accumulator)
            n = n + g**2
            w = w - a * g / (np.sqrt(n) + eps)
        elif o.kind in ("adam", "adamw"):
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            w = w - a * m_hat / (np.sqrt(v_hat) + eps) - (a * o.weight_decay * w if o.kind == "adamw" else 0)
        elif o.kind == "adam_async":
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            w = w - a * math.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
        elif o.kind == "rmsprop_async":
            v = b2 * v + (1 - b2) * g**2
            m = b1 * m + a * g / np.sqrt(v + eps)
            w = w - m
        elif o.kind in ("ftrl", "group_ftrl"):
            sigma = (np.sqrt(n + g**2) - np.sqrt(n)) / a
            z, n = z + g - sigma * w, n + g**2
            if o.kind == "ftrl":
                shrunk = (np.sign(z) * o.l1 - z) / ((o.beta + np.sqrt(n)) / a + o.l2)
                w = np.where(np.abs(z) <= o.l1, 0.0, shrunk)
            else:
                w = _group(z, np.sqrt(n) / a, o)
        elif o.kind == "group_adam":
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            q = np.sqrt(v_hat) + eps
            z, q_before = z + m_hat - (q - q_before) / a * w, q
            w = _group(z, q / a, o)
        else:
            w = w - a * (np.sign(b1 * m + (1 - b1) * g) + o.weight_decay * w)
            m = b2 * m + (1 - b2) * g
        yield w


def _group(z: Array, divisor: Array, o: OptimizerSettings) -> Array:
    u = np.clip(z, -o.l1, o.l1) - z
    norm, bound = float(np.linalg.norm(u)), o.l21 * math.sqrt(DIM)
    return u * (1 - bound / norm) / (divisor + 2 * o.l2) if norm > bound else np.zeros(DIM)


@pytest.mark.parametrize("regular", [False, True], ids=["plain", "regularised"])
@pytest.mark.parametrize("kind", OPTIMIZER_KINDS)
def test_a_row_follows_the_textbook(kind: OptimizerKind, regular: bool) -> None:
    optimizer = OptimizerSettings(kind, 0.1, decay_steps=2)
    if regular:
        optimizer = replace(optimizer, weight_decay=0.1, l1=0.2, l2=0.3, l21=0.1)
    for got, wanted in zip(trained(optimizer, GRADIENTS), textbook(optimizer), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("gradient", "wanted"), [(3.0, -0.0666667), (-3.0, 0.0666667), (1.0, 0.0), (-0.5, 0.0)])
def test_ftrl_takes_the_sign_and_the_threshold_right(gradient: float, wanted: float) -> None:
    """A well-known open implementation gets both signs wrong. n = 4 after the step, z = the gradient, w = 0 before."""
    optimizer = OptimizerSettings("ftrl", 0.1, initial_accumulator=4 - gradient**2 if gradient**2 < 4 else 0, l1=1.0)
    tables = next(trained(optimizer, np.array([[gradient]]), begin=0.0))
    scale = (1 + math.sqrt(max(4.0, gradient**2))) / (1 + 2.0)
    assert tables[0] == pytest.approx(wanted / scale, abs=1e-6)


@pytest.mark.parametrize("kind", ["ftrl", "group_ftrl"])
def test_an_ftrl_rule_keeps_initial_values_that_nothing_speaks_against(kind: OptimizerKind) -> None:
    rule = OptimizerSettings(kind, 0.1, l2=0.3)
    np.testing.assert_allclose(list(trained(rule, np.zeros((2, DIM)))), BEGIN, rtol=1e-6)
    assert not np.any(list(trained(replace(rule, l1=100.0), np.zeros((1, DIM)))))


def test_group_adam_without_regularisation_is_adam() -> None:
    both = [list(trained(OptimizerSettings(kind, 0.1), GRADIENTS)) for kind in ("adam", "group_adam")]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-4, atol=1e-6)


def test_a_group_rule_zeroes_whole_rows() -> None:
    strong = OptimizerSettings("group_ftrl", 0.1, l21=100.0)
    assert not np.any(list(trained(strong, GRADIENTS))[-1])


def test_missed_periods_of_adagrad_decay_count_at_once() -> None:
    """The row's accumulator after five untouched periods: max(n0, rate^5 n)."""
    table = TableSettings("t", 1, 1, optimizer=OptimizerSettings("adagrad_decay", 0.1, decay_rate=0.5, decay_steps=1))
    tables = EmbeddingTables([table], [ColumnSettings("c", "t", "sum")], 0, 1)

    def step(key: int, gradient: float) -> None:
        tables.prepare(EncodedBatch(1, (np.array([key]),), (None,), np.empty((1, 0), np.float32)))
        tables.lookup()
        tables.apply(np.full((1, tables.stride), gradient, np.float32), 0)

    step(1, 8.0)
    for _ in range(4):
        step(2, 1.0)
    step(1, 0.0)
    rows = tables.export("t")
    state = rows.slots[rows.keys.tolist().index(1)]
    assert state.tolist() == pytest.approx([64.1 * 0.5**5, 5.0])


def test_a_longer_period_of_adagrad_decay_keeps_the_accumulators() -> None:
    """A learner that restarts with more steps per period counts fewer periods than its rows have seen."""

    def build(decay_steps: int) -> EmbeddingTables:
        rule = OptimizerSettings("adagrad_decay", 0.1, decay_rate=0.5, decay_steps=decay_steps)
        return EmbeddingTables([TableSettings("t", 1, 1, optimizer=rule)], [ColumnSettings("c", "t", "sum")], 0, 1)

    def step(tables: EmbeddingTables, gradient: float) -> list[float]:
        tables.prepare(EncodedBatch(1, (np.array([1]),), (None,), np.empty((1, 0), np.float32)))
        tables.lookup()
        tables.apply(np.full((1, tables.stride), gradient, np.float32), 0)
        state: list[float] = tables.export("t").slots[0].tolist()
        return state

    before = build(1)
    for _ in range(6):
        step(before, 8.0)
    kept = before.export("t").slots[0, 0]
    after = build(4)
    after.import_rows(before.export("t"))
    after.restore(before.state())
    assert step(after, 0.0) == pytest.approx([kept, 1.0])
    assert step(after, 0.0) == pytest.approx([kept, 1.0])
    assert step(after, 0.0) == pytest.approx([kept / 2, 2.0])


SCHEDULES: list[tuple[ScheduleSettings, Callable[[int], float]]] = [
    (ScheduleSettings(), lambda s: 1.0),
    (ScheduleSettings("constant", warmup=4), lambda s: min(1.0, (s + 1) / 4)),
    (ScheduleSettings("exponential", steps=2, factor=0.5), lambda s: 0.5 ** (s // 2)),
    (ScheduleSettings("linear", steps=4, factor=0.2), lambda s: 1 - 0.8 * min(1.0, s / 4)),
    (ScheduleSettings("cosine", steps=4, factor=0.2), lambda s: 0.2 + 0.4 * (1 + math.cos(math.pi * min(1.0, s / 4)))),
    (ScheduleSettings("inverse_sqrt", steps=3), lambda s: 1 / math.sqrt(1 + s / 3)),
]


@pytest.mark.parametrize(("schedule", "factor"), SCHEDULES, ids=[f"{s.kind}-{s.warmup}" for s, _ in SCHEDULES])
def test_the_rate_follows_its_schedule(schedule: ScheduleSettings, factor: Callable[[int], float]) -> None:
    ones = np.ones((7, 1))
    values = [1.0, *(float(each[0]) for each in trained(OptimizerSettings("sgd", 0.1, schedule=schedule), ones, 1.0))]
    steps = -np.diff(values)
    np.testing.assert_allclose(steps, [0.1 * factor(s) for s in range(7)], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", OPTIMIZER_KINDS)
def test_a_zero_gradient_with_the_smallest_settings_leaves_finite_values(kind: OptimizerKind) -> None:
    accumulates = kind in ("adagrad", "rowwise_adagrad", "adagrad_decay")
    for smallest in (
        OptimizerSettings(kind, epsilon=SMALLEST_EPSILON, initial_accumulator=0.0),
        OptimizerSettings(kind, epsilon=0.0 if accumulates else SMALLEST_EPSILON),
    ):
        assert np.all(np.isfinite(list(trained(smallest, np.zeros((3, DIM))))))


def test_settings_that_cannot_work_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="ftrl with schedule 'cosine'; its state is made of steps at one rate"):
        OptimizerSettings("ftrl", schedule=ScheduleSettings("cosine", steps=10, factor=0.1))
    with pytest.raises(ValueError, match="group_adam divides by it"):
        OptimizerSettings("group_adam", learning_rate=0.0)
    with pytest.raises(ValueError, match="optimizer l21 -1"):
        OptimizerSettings(l21=-1.0)
    divides: list[OptimizerKind] = ["adam", "adamw", "adam_async", "rmsprop_async", "group_adam"]
    for kind in divides:
        with pytest.raises(ValueError, match=f"optimizer epsilon 1e-39; {kind} divides by it"):
            OptimizerSettings(kind, epsilon=1e-39)
    accumulates: list[OptimizerKind] = ["adagrad", "rowwise_adagrad", "adagrad_decay"]
    for kind in accumulates:
        with pytest.raises(ValueError, match=r"epsilon 0\.0 with initial_accumulator 0\.0"):
            OptimizerSettings(kind, epsilon=0.0, initial_accumulator=0.0)
    with pytest.raises(ValueError, match="schedule factor 2"):
        ScheduleSettings(factor=2.0)
