"""Progressive metrics by bucket, and that any range of increments adds up to the exact figure."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from checkpointing.quality import add_up, by_bucket
from learner.progress import COUNTED_AT_ONCE, MOST_VALUES, ProgressiveMetrics


def record(
    metrics: ProgressiveMetrics, p: Any, y: Any, at: Any, weight: Any = None, columns: pa.Table | None = None
) -> None:
    predictions, labels = np.asarray(p, np.float32)[:, None], np.asarray(y, np.float32)[:, None]
    losses = -np.where(labels > 0.5, np.log(predictions), np.log1p(-predictions)).astype(np.float32)
    weights = np.ones(len(labels), np.float32) if weight is None else np.asarray(weight, np.float32)
    metrics.record(predictions, losses, labels, weights, np.asarray(at, np.int64), columns)


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


def test_each_label_and_each_slice_has_sums_of_its_own() -> None:
    metrics = ProgressiveMetrics(10_000, ["label_click", "label_buy"], ["device"])
    p = np.array([[0.2, 0.1], [0.9, 0.5], [0.4, 0.3]], np.float32)
    y = np.array([[0, 0], [1, np.nan], [1, 1]], np.float32)
    device = pa.table({"device": ["phone", None, "phone"], "user": ["a", "b", "c"]})
    metrics.record(p, -np.log(p), y, np.ones(3, np.float32), np.zeros(3, np.int64), device)
    bucket = metrics.take()["0"]
    assert (bucket["samples"], bucket["positives"]) == (3, 2)
    assert (bucket["labels"]["label_buy"]["samples"], bucket["labels"]["label_buy"]["positives"]) == (2, 1)
    by_device = {value: (sums["samples"], sums["positives"]) for value, sums in bucket["slices"]["device"].items()}
    assert by_device == {"phone": (2, 1), "(none)": (1, 1)}
    assert sum(sums["log_loss_sum"] for sums in bucket["slices"]["device"].values()) == bucket["log_loss_sum"]


def test_batches_that_wait_are_counted_as_they_were_told() -> None:
    generator = np.random.default_rng(1)
    steps, size = 3 * COUNTED_AT_ONCE // 500, 500
    waiting, at_once = ProgressiveMetrics(10_000, slices=["device"]), ProgressiveMetrics(10_000, slices=["device"])
    taken = []
    # As a step's result, which the next step writes over.
    reused = np.empty((size, 1), np.float32)
    for _ in range(steps):
        reused[:] = generator.uniform(0.01, 0.99, (size, 1))
        labels, weights = generator.integers(0, 2, (size, 1)).astype(np.float32), np.ones(size, np.float32)
        told = (reused, 2 * reused, labels, weights, generator.integers(0, 50_000, size))
        devices = pa.table({"device": pa.array(generator.choice(["phone", "tablet"], size))})
        waiting.record(*told, devices)
        at_once.record(*told, devices)
        taken.append(at_once.take())
    whole = waiting.take()
    assert sum(bucket["samples"] for bucket in whole.values()) == steps * size
    assert by_bucket([whole]).keys() == by_bucket(taken).keys()
    for start, quality in by_bucket([whole]).items():
        parts = [one[str(start)] for one in taken]
        apart = add_up([{"0": part} for part in parts])
        assert quality.samples == apart.samples
        np.testing.assert_array_equal(quality.positive_histogram, apart.positive_histogram)
        np.testing.assert_allclose(quality.prediction_sum, apart.prediction_sum)
        for value, sums in whole[str(start)]["slices"]["device"].items():
            assert sums["samples"] == sum(part["slices"]["device"][value]["samples"] for part in parts)


def test_of_too_many_values_the_rest_stands_together() -> None:
    metrics = ProgressiveMetrics(10_000, slices=["user"])
    count = MOST_VALUES + 10
    users = pa.table({"user": [f"u{number}" for number in range(count)]})
    record(metrics, np.full(count, 0.5), np.ones(count), np.zeros(count), columns=users)
    slices = metrics.take()["0"]["slices"]["user"]
    assert len(slices) == MOST_VALUES + 1 and slices["other"]["samples"] == 10


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
