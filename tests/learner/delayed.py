"""Streams whose feedback comes late, drawn from a known truth, and a model trained on them; knows no Kafka.

A sample has four numbers; clicks follow a logistic law in them, and so does the chance that a click is late.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from infra import spec
from learner.export import digest, export_graph
from learner.models import Layout, build_model
from learner.step import TrainingStep
from serving.dense_program import DenseGraph
from tests.learner.aligned import aligned

NUMBERS, STRIDE, BATCH = 4, 16, 64
LAYOUT = Layout(STRIDE, (), 0, NUMBERS)
KEPT = 0.2
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stream:
    """What is trained, in this order, and impressions of known truth to judge by.

    Args:
        x: ``[n, 4]``.
        y: ``[n]``.
        late: ``[n]`` bool.
        log_rate: ``[n]``.
        test_x: ``[m, 4]``.
        test_p: ``[m]``, the true chance of a click.
        keep: Rate at which negatives are kept.
    """

    x: Floats
    y: Floats
    late: npt.NDArray[np.bool_]
    log_rate: Floats
    test_x: Floats
    test_p: Floats
    keep: float = 1.0


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def _truth(x: Floats) -> Floats:
    return np.asarray(_sigmoid(x @ np.array([0.8, -0.6, 0.4, 0.2]) - 1.3))


def _made(count: int, seed: int, window: float | None, keep: float = 1.0) -> Stream:
    """Impressions at times 0, 1, 2, …; a late click comes within the next 2,000, others within ``window``.

    Args:
        count: Impressions.
        seed: Seeds everything.
        window: How long a verdict waits; None: nothing is late, 0: every impression is a negative at once.
        keep: Rate at which negatives are kept.
    """
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, NUMBERS))
    click = generator.random(count) < _truth(x)
    shown = np.arange(count, dtype=np.float64)
    slow = generator.random(count) < _sigmoid(x[:, 0] - 0.5)
    delay = np.where(slow, generator.uniform(200, 2_000, count), generator.uniform(1, 100, count))
    nothing = np.zeros(count, np.bool_)
    if window is None:
        rows, y, late, order = np.arange(count), click, nothing, shown
    else:
        verdict = click & (delay <= window)
        again = np.flatnonzero(click & ~verdict)
        rows = np.concatenate([np.arange(count), again])
        y = np.concatenate([verdict, np.ones(len(again), np.bool_)])
        late = np.concatenate([nothing, np.ones(len(again), np.bool_)])
        order = np.concatenate([np.where(verdict, shown + delay, shown + window), shown[again] + delay[again]])
    # A running stream, cut off now: what comes after the last impression is not there yet.
    kept = (y | (generator.random(len(y)) < keep)) & (order < count)
    order, rows, y, late = order[kept], rows[kept], y[kept], late[kept]
    by = np.argsort(order, kind="stable")
    test = generator.normal(size=(20_000, NUMBERS))
    log_rate = np.where(y[by], 0.0, np.log(keep))
    return Stream(x[rows[by]], y[by].astype(np.float64), late[by], log_rate, test, _truth(test), keep)


STREAMS: dict[str, Callable[..., Stream]] = {
    "complete": lambda count, seed: _made(count, seed, window=None),
    "thinned": lambda count, seed: _made(count, seed, window=None, keep=KEPT),
    "immediate": lambda count, seed: _made(count, seed, window=0),
    "early": lambda count, seed: _made(count, seed, window=100),
}


def train(loss: spec.Loss, stream: Stream) -> TrainingStep:
    """A logistic regression that learned the stream once, in its order."""
    model = build_model("lr", LAYOUT, 1, spec.Model(name="lr"), seed=1)
    step = TrainingStep(model, STRIDE, 1, spec.Optimizer(learning_rate=0.1), loss, stream.keep)
    for begin in range(0, len(stream.y), BATCH):
        part = slice(begin, begin + BATCH)
        x = _padded(stream.x[part])
        y = stream.y[part, None].astype(np.float32)
        step(x, y, np.ones(len(y), np.float32), stream.log_rate[part].astype(np.float32), stream.late[part])
    return step


def served(step: TrainingStep, stream: Stream) -> Floats:
    """What a replica would answer for the impressions to judge by."""
    content = export_graph(step.model, STRIDE, step.loss.serve)
    program = DenseGraph(content, digest(content)).bind(step.dense())  # type: ignore[arg-type]
    return program.predict(_padded(stream.test_x))[:, 0].astype(np.float64)


def calibration(predictions: Floats, stream: Stream) -> float:
    """Sum of predictions over sum of true chances."""
    return float(predictions.sum() / stream.test_p.sum())


def log_loss(predictions: Floats, stream: Stream) -> float:
    """Expected log loss, nats."""
    q = np.clip(predictions, 1e-6, 1 - 1e-6)
    return float(-(stream.test_p * np.log(q) + (1 - stream.test_p) * np.log(1 - q)).mean())


def _padded(x: Floats) -> npt.NDArray[np.float32]:
    rows = np.zeros((len(x), STRIDE), np.float32)
    rows[:, :NUMBERS] = x
    return aligned(rows)
