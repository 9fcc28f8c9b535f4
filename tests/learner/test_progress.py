"""Progressive metrics by bucket, and that any range of increments adds up to the exact figure."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np

from checkpointing.quality import add_up, by_bucket
from learner.progress import ProgressiveMetrics


def record(metrics: ProgressiveMetrics, p: Any, y: Any, at: Any, weight: Any = None) -> None:
    predictions, labels = np.asarray(p, np.float32), np.asarray(y, np.float32)
    losses = -np.where(labels > 0.5, np.log(predictions), np.log1p(-predictions)).astype(np.float32)
    weights = np.ones(len(labels), np.float32) if weight is None else np.asarray(weight, np.float32)
    metrics.record(predictions, losses, labels, weights, np.asarray(at, np.int64))


def test_a_bucket_is_where_the_impression_stands_in_event_time() -> None:
    metrics = ProgressiveMetrics(10_000)
    record(metrics, [0.2, 0.9, 0.4], [0, 1, 1], [9_999, 10_000, 19_999])
    taken = metrics.take()
    assert list(taken) == ["0", "10000"]
    assert taken["0"]["negative_histogram"] == {"200": 1}
    assert taken["10000"]["samples"] == 2 and taken["10000"]["positives"] == 2
    assert metrics.take() == {}


def test_unlabelled_and_weightless_samples_are_not_counted() -> None:
    metrics = ProgressiveMetrics(10_000)
    record(metrics, [0.2, 0.9, 0.4], [0, np.nan, 1], [0, 0, 0], weight=[1, 1, 0])
    assert metrics.take()["0"]["samples"] == 1


def test_increments_of_versions_add_up_to_all_at_once() -> None:
    generator = np.random.default_rng(0)
    p, y = generator.uniform(0.01, 0.99, 1000), generator.integers(0, 2, 1000)
    at = generator.integers(0, 50_000, 1000)
    metrics, increments = ProgressiveMetrics(10_000), []
    for begin in range(0, 1000, 100):
        part = slice(begin, begin + 100)
        record(metrics, p[part], y[part], at[part])
        increments.append(metrics.take())
    total = add_up(increments)
    assert total.samples == 1000 and total.positives == int(y.sum())
    np.testing.assert_allclose(total.prediction_sum, p.sum(), rtol=1e-6)
    late = add_up(increments, from_ms=20_000, to_ms=40_000)
    assert late.samples == int(((at >= 20_000) & (at < 40_000)).sum())
    assert sum(quality.samples for quality in by_bucket(increments).values()) == 1000
