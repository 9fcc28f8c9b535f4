"""Every optimizer and schedule on one row in float32, in the engine's order of operations; knows no table."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kernels.optimizer_settings import OptimizerSettings

Floats = NDArray[np.float32]
f32 = np.float32

WIDE = {
    "sgd": 0,
    "momentum": 1,
    "nesterov": 1,
    "adagrad": 1,
    "rowwise_adagrad": 0,
    "adagrad_decay": 1,
    "adam": 2,
    "adamw": 2,
    "adam_async": 2,
    "rmsprop_async": 2,
    "ftrl": 2,
    "group_ftrl": 2,
    "group_adam": 3,
    "lion": 1,
}
SINGLE = {"rowwise_adagrad": 1, "adagrad_decay": 1, "adam": 1, "adamw": 1, "group_adam": 1}


def whole_power(base: float, exponent: int) -> float:
    """By repeated squaring."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def cosine(x: float) -> float:
    """cos(pi x) for x in [0, 1] by the Taylor series of sin(pi (1/2 - x))."""
    y = 3.14159265358979324 * (0.5 - x)
    term = total = y
    for k in range(1, 10):
        term *= -(y * y) / ((2 * k) * (2 * k + 1))
        total += term
    return total


def rate_at(optimizer: OptimizerSettings, step: int) -> float:
    """The learning rate of a step."""
    by = optimizer.schedule
    if step < by.warmup:
        return optimizer.learning_rate * ((step + 1) / by.warmup)
    x = (step - by.warmup) / by.steps
    if by.kind == "exponential":
        return optimizer.learning_rate * whole_power(by.factor, int(x))
    if by.kind == "linear":
        return optimizer.learning_rate * (1 + min(x, 1.0) * (by.factor - 1))
    if by.kind == "cosine":
        return optimizer.learning_rate * (by.factor + (1 - by.factor) * 0.5 * (1 + cosine(min(x, 1.0))))
    if by.kind == "inverse_sqrt":
        return optimizer.learning_rate / math.sqrt(1 + x)
    return optimizer.learning_rate


def slot_width(optimizer: OptimizerSettings, dim: int) -> int:
    """Floats of state per row."""
    return WIDE[optimizer.kind] * dim + SINGLE.get(optimizer.kind, 0)


def initial_slots(optimizer: OptimizerSettings, values: Floats) -> Floats:
    """The state of a row that was never updated."""
    dim = len(values)
    slots = np.zeros(slot_width(optimizer, dim), f32)
    if optimizer.kind in ("adagrad", "adagrad_decay", "rowwise_adagrad"):
        slots[: max(WIDE[optimizer.kind] * dim, 1)] = optimizer.initial_accumulator
    elif optimizer.kind in ("ftrl", "group_ftrl"):
        slots[dim:] = optimizer.initial_accumulator
        root, rate = np.sqrt(f32(optimizer.initial_accumulator)), f32(optimizer.learning_rate)
        if optimizer.kind == "ftrl":
            by = (f32(optimizer.beta) + root) / rate + f32(optimizer.l2)
        else:
            by = root / rate + f32(2 * optimizer.l2)
        slots[:dim] = -(by * values)
    return slots


def sum_of_squares(x: Floats) -> np.float32:
    """Eight running sums, then a tree."""
    sums = np.zeros(8, f32)
    for begin in range(0, len(x), 8):
        part = x[begin : begin + 8]
        sums[: len(part)] += part * part
    return f32(((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7])))


def _clipped(z: Floats, optimizer: OptimizerSettings) -> Floats:
    l1 = f32(optimizer.l1)
    return np.where(z > l1, l1, np.where(z < -l1, -l1, z)).astype(f32)


def _left(u: Floats, optimizer: OptimizerSettings) -> np.float32:
    bound = f32(optimizer.l21 * math.sqrt(len(u)))
    norm = np.sqrt(sum_of_squares(u))
    return f32(1) - bound / norm if norm > bound else f32(0)


def _ratio(x: Floats, by: Floats) -> Floats:
    return np.where(by > 0, x / np.where(by > 0, by, f32(1)), f32(0)).astype(f32)


def _corrections(optimizer: OptimizerSettings, t: int) -> tuple[float, np.float32]:
    if t == 0:
        return math.inf, f32(math.inf)
    return 1 / (1 - whole_power(optimizer.beta1, t)), f32(1 / (1 - whole_power(optimizer.beta2, t)))


def update(w: Floats, s: Floats, g: Floats, optimizer: OptimizerSettings, step: int) -> None:  # noqa: PLR0912
    """One step in place: values, state, gradient; ``step`` counts the steps of all rows before."""
    n, kind = len(w), optimizer.kind
    exact_rate = rate_at(optimizer, step)
    rate, epsilon, decay = f32(exact_rate), f32(optimizer.epsilon), f32(optimizer.weight_decay)
    beta1, rest1 = f32(optimizer.beta1), f32(1 - optimizer.beta1)
    beta2, rest2 = f32(optimizer.beta2), f32(1 - optimizer.beta2)
    if kind == "sgd":
        w[:] = w - rate * g
    elif kind in ("momentum", "nesterov"):
        s[:] = beta1 * s + g
        w[:] = w - rate * (s if kind == "momentum" else g + beta1 * s)
    elif kind == "rowwise_adagrad":
        s[0] = s[0] + sum_of_squares(g) / f32(n)
        w[:] = w - rate / (np.sqrt(s[0]) + epsilon) * g
    elif kind in ("adagrad", "adagrad_decay"):
        if kind == "adagrad_decay":
            period = f32(step // optimizer.decay_steps)
            if period > s[n]:
                by = f32(whole_power(optimizer.decay_rate, int(period - s[n])))
                s[:n] = np.maximum(by * s[:n], f32(optimizer.initial_accumulator))
            s[n] = period
        s[:n] = s[:n] + g * g
        w[:] = w - rate * g / (np.sqrt(s[:n]) + epsilon)
    elif kind in ("adam", "adamw", "adam_async", "rmsprop_async"):
        m, v = s[:n], s[n : 2 * n]
        if kind == "rmsprop_async":
            v[:] = beta2 * v + rest2 * (g * g)
            m[:] = beta1 * m + rate * g / np.sqrt(v + epsilon)
            w[:] = w - m
            return
        m[:] = beta1 * m + rest1 * g
        v[:] = beta2 * v + rest2 * (g * g)
        if kind == "adam_async":
            powers = whole_power(optimizer.beta1, step + 1), whole_power(optimizer.beta2, step + 1)
            w[:] = w - f32(exact_rate * math.sqrt(1 - powers[1]) / (1 - powers[0])) * m / (np.sqrt(v) + epsilon)
            return
        s[-1] += f32(1)
        first, second = _corrections(optimizer, int(s[-1]))
        move = f32(exact_rate * first) * m / (np.sqrt(v * second) + epsilon)
        w[:] = w - (move + rate * decay * w) if kind == "adamw" else w - move
    elif kind in ("ftrl", "group_ftrl"):
        z, a = s[:n], s[n:]
        before = np.sqrt(a)
        a[:] = a + g * g
        z[:] = z + g - (np.sqrt(a) - before) / rate * w
        u = _clipped(z, optimizer) - z
        if kind == "ftrl":
            w[:] = _ratio(u, (f32(optimizer.beta) + np.sqrt(a)) / rate + f32(optimizer.l2))
        else:
            w[:] = _ratio(_left(u, optimizer) * u, np.sqrt(a) / rate + f32(2 * optimizer.l2))
    elif kind == "group_adam":
        m, v, z = s[:n], s[n : 2 * n], s[2 * n : 3 * n]
        t = int(s[-1])
        before = np.sqrt(v * _corrections(optimizer, t)[1]) + epsilon if t else np.zeros(n, f32)
        s[-1] = t + 1
        first, second = _corrections(optimizer, t + 1)
        m[:] = beta1 * m + rest1 * g
        v[:] = beta2 * v + rest2 * (g * g)
        now = np.sqrt(v * second) + epsilon
        z[:] = z + f32(first) * m - (now - before) / rate * w
        u = _clipped(z, optimizer) - z
        w[:] = _left(u, optimizer) * u / (now / rate + f32(2 * optimizer.l2))
    else:
        assert kind == "lion"
        sign = np.sign(beta1 * s + rest1 * g)
        w[:] = w - rate * (sign + decay * w)
        s[:] = beta2 * s + rest2 * g
