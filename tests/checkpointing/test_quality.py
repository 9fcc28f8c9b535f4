"""Figures from histograms against exact ones from the samples themselves."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpointing.quality import BINS, Quality, add_up, bins


def of(p: Any, y: Any) -> Quality:
    p, y = np.asarray(p, np.float64), np.asarray(y)
    quality = Quality(samples=len(y), positives=int(y.sum()), prediction_sum=float(p.sum()))
    with np.errstate(divide="ignore"):
        quality.log_loss_sum = float(-np.where(y == 1, np.log(p), np.log1p(-p)).sum())
    np.add.at(quality.positive_histogram, bins(p[y == 1]), 1)
    np.add.at(quality.negative_histogram, bins(p[y == 0]), 1)
    return quality


def pairwise_auc(p: Any, y: Any) -> float:
    positive, negative = p[y == 1][:, None], p[y == 0][None, :]
    return float(((positive > negative) + 0.5 * (positive == negative)).mean())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, BINS - 1), st.booleans()), min_size=2, max_size=200))
def test_the_auc_of_binned_predictions_is_exact(pairs: list[tuple[int, bool]]) -> None:
    p = np.array([place for place, _ in pairs]) / BINS + 0.5 / BINS
    y = np.array([int(label) for _, label in pairs])
    if 0 < y.sum() < len(y):
        assert of(p, y).auc == pytest.approx(pairwise_auc(p, y), abs=1e-12)
    else:
        assert of(p, y).auc is None


def test_the_auc_of_any_predictions_is_near_the_exact_one() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 3000)
    p = 1 / (1 + np.exp(-(generator.normal(size=3000) + y - 2)))
    assert of(p, y).auc == pytest.approx(pairwise_auc(p, y), abs=1e-3)


def test_known_figures() -> None:
    quality = of([0.8, 0.6, 0.4, 0.2], [1, 0, 1, 0])
    assert quality.auc == 0.75
    assert quality.log_loss == pytest.approx(-(np.log([0.8, 0.4, 0.4, 0.8])).mean())
    assert quality.normalized_entropy == pytest.approx(-(np.log([0.8, 0.4, 0.4, 0.8])).mean() / np.log(2))
    assert quality.calibration == pytest.approx(1.0)


def test_a_model_that_knows_only_the_mean_has_normalized_entropy_one() -> None:
    y = np.array([1] * 3 + [0] * 7)
    assert of(np.full(10, 0.3), y).normalized_entropy == pytest.approx(1.0)


def test_nothing_gives_no_figure() -> None:
    empty = add_up([])
    assert (empty.auc, empty.log_loss, empty.normalized_entropy, empty.calibration) == (None, None, None, None)
    assert of([0.5], [1]).normalized_entropy is None


def test_the_ends_of_the_range_and_what_is_no_number_have_a_bin() -> None:
    assert bins(np.array([0.0, 1.0, np.nan, np.inf, -np.inf])).tolist() == [0, BINS - 1, 0, BINS - 1, 0]


def test_json_and_back() -> None:
    quality = of([0.8, 0.6, 0.4, 0.2], [1, 0, 1, 0])
    again = Quality.from_json(quality.to_json())
    assert again.to_json() == quality.to_json()
    assert again.auc == quality.auc


@pytest.mark.parametrize("sum_", [np.nan, np.inf])
def test_a_sum_that_is_no_number_is_null_in_json_and_reads_as_no_number(sum_: float) -> None:
    quality = of([0.8, 0.4], [1, 0])
    quality.log_loss_sum = quality.prediction_sum = sum_
    document = orjson.loads(orjson.dumps(quality.to_json()))
    assert document["log_loss_sum"] is None
    again = add_up([{"0": document}, {"0": of([0.6], [1]).to_json()}])
    assert again.log_loss is not None and np.isnan(again.log_loss)
    assert again.calibration is not None and np.isnan(again.calibration)
    assert (again.samples, again.positives, again.auc) == (3, 2, 1.0)
