"""Standard scaling: exact figures, the same state from the same batches, nothing from missing values."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.features import EncodedBatch, FeatureEncoder, IdFeature, NumberFeature, RunningStatistics

FEATURES = (
    NumberFeature("a", "a", "standard"),
    IdFeature("i", "i", "t"),
    NumberFeature("b", "b", "log"),
    NumberFeature("c", "c", "standard"),
)
ENCODER = FeatureEncoder(FEATURES)


def encode(a: list[float | None], c: list[float | None]) -> EncodedBatch:
    n = len(a)
    return ENCODER.encode(
        {
            "a": pa.array(a, pa.float64()),
            "c": pa.array(c, pa.float64()),
            "b": pa.array([1.0] * n),
            "i": pa.array([1] * n),
        }
    )


values = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(values, min_size=1, max_size=6))
def test_batches_merge_to_the_figures_of_all_values(batches: list[list[float | None]]) -> None:
    statistics = RunningStatistics(FEATURES)
    for batch in batches:
        statistics.update(encode(batch, [None] * len(batch)))
    state = statistics.state()
    every = np.array([value for batch in batches for value in batch if value is not None])
    assert state["standard_counts"].tolist() == [len(every), 0]
    if len(every):
        np.testing.assert_allclose(state["standard_means"][0], every.mean(), rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(state["standard_squares"][0], every.var() * len(every), rtol=1e-9, atol=1e-3)


def test_scaling_by_known_figures() -> None:
    statistics = RunningStatistics(FEATURES)
    statistics.update(encode([1.0, 2.0, 3.0, 4.0], [10.0, None, 10.0, None]))
    scaled = statistics.scale(encode([2.5, None, 4.0], [10.0, 99.0, None]))
    np.testing.assert_allclose(scaled.numbers[:, 0], [0, 0, 1.5 / 1.25**0.5], rtol=1e-6)
    np.testing.assert_allclose(scaled.numbers[:, 1], np.log1p(1.0), rtol=1e-6)
    assert scaled.numbers[:, 2].tolist() == [0, 0, 0], "no spread is known: nothing to divide by"


def test_before_the_first_batch_everything_is_zero() -> None:
    scaled = RunningStatistics(FEATURES).scale(encode([5.0], [None]))
    assert scaled.numbers[:, [0, 2]].tolist() == [[0, 0]]


def test_large_values_keep_their_differences() -> None:
    """Raw values wait in float64: milliseconds of this century lie closer than float32 can tell."""
    statistics = RunningStatistics(FEATURES)
    batch = encode([1.7e12, 1.7e12 + 1, 1.7e12 + 2], [None] * 3)
    statistics.update(batch)
    np.testing.assert_allclose(statistics.scale(batch).numbers[:, 0], [-1.2247, 0, 1.2247], rtol=1e-4)


def test_scaling_changes_neither_batch_nor_state() -> None:
    statistics = RunningStatistics(FEATURES)
    batch = encode([1.0, 3.0], [1.0, None])
    statistics.update(batch)
    before = statistics.state()
    statistics.scale(batch)
    assert batch.numbers[:, 0].tolist() == [0, 0]
    assert all(np.array_equal(before[name], part) for name, part in statistics.state().items())


def test_a_restored_state_goes_on_bit_for_bit() -> None:
    random = np.random.default_rng(0)
    batches = [encode(random.normal(5, 2, 7).tolist(), random.normal(0, 1, 7).tolist()) for _ in range(20)]
    straight = RunningStatistics(FEATURES)
    for batch in batches:
        straight.update(batch)
    broken = RunningStatistics(FEATURES)
    for batch in batches:
        broken = RunningStatistics.from_state(FEATURES, broken.state())
        broken.update(batch)
    for name, part in straight.state().items():
        assert part.tobytes() == broken.state()[name].tobytes()
    assert straight.scale(batches[0]).numbers.tobytes() == broken.scale(batches[0]).numbers.tobytes()


def test_a_scaled_batch_cannot_be_scaled_twice() -> None:
    statistics = RunningStatistics(FEATURES)
    scaled = statistics.scale(encode([1.0], [1.0]))
    with pytest.raises(ValueError, match="was it scaled already"):
        statistics.scale(scaled)
    with pytest.raises(ValueError, match="was it scaled already"):
        statistics.update(scaled)


def test_without_standard_features_there_is_nothing_to_do() -> None:
    features = (NumberFeature("b", "b", "log"),)
    statistics = RunningStatistics(features)
    batch = FeatureEncoder(features).encode({"b": pa.array([1.0])})
    statistics.update(batch)
    assert statistics.scale(batch) is batch


def test_a_state_of_other_features_is_refused() -> None:
    state = RunningStatistics(FEATURES).state()
    with pytest.raises(ValueError, match=r"shape \(2,\); wanted \(1,\)"):
        RunningStatistics.from_state(FEATURES[:1], state)
    del state["standard_means"]
    with pytest.raises(KeyError, match="standard_means"):
        RunningStatistics.from_state(FEATURES, state)
