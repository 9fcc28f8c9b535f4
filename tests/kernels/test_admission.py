"""Who gets a row: exact counts, filters, chance; what the filter promises; settings that can never admit."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.lifecycle_settings import AdmissionSettings, EvictionSettings, block_false_positive
from kernels.tables import ColumnSettings, EmbeddingTables, InitializerSettings, TableSettings


def build(admission: AdmissionSettings, max_batch: int = 4096, **others: object) -> EmbeddingTables:
    table = TableSettings("t", 1, 1, InitializerSettings("constant", 1.0), admission=admission, **others)  # type: ignore[arg-type]
    return EmbeddingTables([table], [ColumnSettings("c", "t", "sum")], 0, max_batch)


def step(tables: EmbeddingTables, keys: NDArray[np.int64], event_ms: int = 0) -> NDArray[np.float32]:
    """What the lookup answered."""
    tables.prepare(EncodedBatch(len(keys), (keys,), (None,), np.empty((len(keys), 0), np.float32)))
    tables.lookup()
    answered = tables.buffer[: len(keys), 0].copy()
    tables.apply(np.zeros((len(keys), tables.stride), np.float32), event_ms)
    return answered


@pytest.mark.parametrize("kind", ["counter", "bloom"])
def test_a_key_is_admitted_with_its_nth_occurrence(kind: str) -> None:
    tables = build(AdmissionSettings(kind, 3, not_admitted=-1.0))  # type: ignore[arg-type]
    key = np.array([5])
    assert [step(tables, key)[0] for _ in range(4)] == [-1, -1, 1, 1]
    assert step(tables, np.array([6, 6, 7])).tolist() == [-1, -1, -1]
    assert step(tables, np.array([6, 7])).tolist() == [1, -1]
    assert sorted(tables.export("t").keys.tolist()) == [5, 6]
    assert step(tables, np.array([9, 9, 9])).tolist() == [1, 1, 1]


def test_a_lookup_whose_gradient_never_comes_does_not_count() -> None:
    tables = build(AdmissionSettings("counter", 2))
    keys = np.array([5])
    for _ in range(5):
        tables.prepare(EncodedBatch(1, (keys,), (None,), np.empty((1, 0), np.float32)))
        tables.lookup()
    assert step(tables, keys)[0] == 0
    assert step(tables, keys)[0] == 1


def test_a_filter_of_its_capacity_keeps_its_rate_and_forgets_nobody() -> None:
    rules = AdmissionSettings("bloom", 2, capacity=20_000, false_positive=0.02)
    tables = build(rules)
    keys = np.arange(20_000)
    for begin in range(0, len(keys), 4000):
        step(tables, keys[begin : begin + 4000])
    too_early = tables.row_count("t")
    strangers = np.arange(10**6, 10**6 + 4000)
    tables.prepare(EncodedBatch(4000, (strangers,), (None,), np.empty((4000, 0), np.float32)))
    tables.lookup()
    # Of 4,000 the rate gives 80, with a deviation of 9.
    assert np.count_nonzero(tables.buffer[:4000, 0]) <= 80 + 5 * 9
    assert too_early <= 0.02 * 20_000
    for begin in range(0, len(keys), 4000):
        assert np.all(step(tables, keys[begin : begin + 4000]) == 1)


def test_the_filter_is_as_small_as_the_formula_lets_it_be() -> None:
    rules = AdmissionSettings("bloom", 2, capacity=10**6, false_positive=0.01)
    assert rules.filter_hashes == 7
    assert block_false_positive(10**6 / rules.filter_blocks, 7) <= 0.01
    assert block_false_positive(10**6 / rules.filter_blocks * 1.02, 7) > 0.01


def test_three_views_in_three_periods_do_not_admit() -> None:
    tables = build(AdmissionSettings("bloom", 3, period_ms=1000))
    key = np.array([5])
    # A lookup knows the clock of the steps before it alone: each view is judged in the period of the one before it.
    assert [step(tables, key, event_ms=5000 * i)[0] for i in range(6)] == [0] * 6
    assert [step(tables, key, event_ms=30_000)[0] for _ in range(3)] == [0, 0, 1]


def test_the_first_batch_of_a_period_counts_in_it() -> None:
    tables = build(AdmissionSettings("bloom", 3, period_ms=1000))
    step(tables, np.array([8]), event_ms=0)
    # The step that begins a period is part of it: its counts are not halved by the next one.
    assert [step(tables, np.array([5]), event_ms=5000 + i)[0] for i in range(3)] == [0, 0, 1]


def test_counts_of_the_very_first_batch_stand_with_the_shortest_period() -> None:
    tables = build(AdmissionSettings("bloom", 3, period_ms=1))
    now = 1_700_000_000_000
    assert [step(tables, np.array([5]), event_ms=now)[0] for _ in range(3)] == [0, 0, 1]


def test_counts_from_before_all_time_are_gone_and_not_shifted_by_a_negative_number() -> None:
    tables = build(AdmissionSettings("bloom", 2, period_ms=1))
    step(tables, np.array([5]), event_ms=0)
    counts = tables.export("t").counts
    assert counts is not None
    tables.import_counts(replace(counts, last_seen=np.full_like(counts.last_seen, np.iinfo(np.int64).min)))
    step(tables, np.array([8]), event_ms=1000)
    assert step(tables, np.array([5]), event_ms=1000)[0] == 0


def test_chance_admits_its_share_whatever_the_batch() -> None:
    tables = build(AdmissionSettings("probability", probability=0.25))
    step(tables, np.arange(4000))
    assert 1000 - 5 * 28 < tables.row_count("t") < 1000 + 5 * 28
    twice = build(AdmissionSettings("probability", probability=0.25))
    step(twice, np.repeat(np.arange(2000), 2))
    share = 1 - 0.75**2
    assert abs(twice.row_count("t") - 2000 * share) < 5 * np.sqrt(2000 * share * (1 - share))


def test_an_evicted_key_counts_from_nothing() -> None:
    tables = build(AdmissionSettings("counter", 2), eviction=EvictionSettings(step_ttl=2))
    for _ in range(2):
        step(tables, np.array([5]))
    assert tables.row_count("t") == 1
    for _ in range(4):
        step(tables, np.array([8]))
    assert 5 not in tables.export("t").keys
    assert [step(tables, np.array([5]))[0] for _ in range(2)] == [0, 1]


def test_counts_of_keys_that_never_come_back_expire() -> None:
    tables = build(AdmissionSettings("counter", 3), eviction=EvictionSettings(time_ttl_ms=1000))
    step(tables, np.arange(100), event_ms=0)
    step(tables, np.arange(100, 110), event_ms=1500)
    counts = tables.export("t").counts
    assert counts is not None
    assert sorted(counts.keys.tolist()) == list(range(100, 110))


def test_settings_that_can_never_admit_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="would never admit a key that comes once a batch: its counters stop at 255"):
        AdmissionSettings("bloom", 300)
    with pytest.raises(ValueError, match=r"probability 0\.0 would never admit"):
        AdmissionSettings("probability", probability=0.0)
    with pytest.raises(ValueError, match="occurrences 0"):
        AdmissionSettings("counter", 0)
    with pytest.raises(ValueError, match=r"false_positive 1\.0"):
        AdmissionSettings("bloom", false_positive=1.0)
