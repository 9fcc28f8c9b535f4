"""Who loses its row: by steps, time, norm and number; in slices; every one a tombstone."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.lifecycle_settings import EvictionSettings
from kernels.optimizer_settings import OptimizerSettings
from kernels.rows import TableRows
from kernels.tables import ColumnSettings, EmbeddingTables, InitializerSettings, TableSettings


def build(eviction: EvictionSettings, optimizer: OptimizerSettings | None = None) -> EmbeddingTables:
    table = TableSettings(
        "t", 2, 1, InitializerSettings("constant", 1.0), optimizer or OptimizerSettings("sgd", 1.0), eviction=eviction
    )
    return EmbeddingTables([table], [ColumnSettings("c", "t", "sum")], 0, 4096)


def step(
    tables: EmbeddingTables, keys: list[int] | NDArray[np.int64], event_ms: int = 0, gradient: float = 0.0
) -> None:
    ids = np.array(keys, np.int64)
    tables.prepare(EncodedBatch(len(ids), (ids,), (None,), np.empty((len(ids), 0), np.float32)))
    tables.lookup()
    tables.apply(np.full((len(ids), tables.stride), gradient, np.float32), event_ms)


def keys_of(tables: EmbeddingTables) -> list[int]:
    return sorted(tables.export("t").keys.tolist())


def test_rows_leave_after_their_steps_and_become_tombstones() -> None:
    tables = build(EvictionSettings(step_ttl=2))
    step(tables, [1, 2])
    step(tables, [2])
    tables.capture()
    step(tables, [3])
    assert keys_of(tables) == [1, 2, 3]
    step(tables, [3])
    assert keys_of(tables) == [2, 3]
    captured = tables.capture()[0]
    assert (captured.keys.tolist(), captured.tombstones.tolist()) == ([3], [1])


def test_rows_leave_by_event_time() -> None:
    tables = build(EvictionSettings(time_ttl_ms=1000))
    step(tables, [1], event_ms=10_000)
    step(tables, [2], event_ms=9_000)
    step(tables, [3], event_ms=11_000)
    assert keys_of(tables) == [1, 3]  # 2 is older by 2,000
    step(tables, [4], event_ms=500)
    assert keys_of(tables) == [1, 3]  # and a late event does not stay


def test_rows_of_small_norm_leave() -> None:
    tables = build(EvictionSettings(half_norm=0.5))
    step(tables, [1], gradient=0.5)
    assert keys_of(tables) == []  # w = 0.5, 0.5
    step(tables, [1], gradient=-1.0)
    assert keys_of(tables) == [1]
    zeroed = build(EvictionSettings(half_norm=0.0), OptimizerSettings("group_ftrl", 0.1, l21=100.0))
    step(zeroed, [1], gradient=1.0)
    assert keys_of(zeroed) == []


@pytest.mark.parametrize(("order", "stay"), [("lfu", [1, 2]), ("lru", [2, 3])])
def test_the_least_worthy_leave_at_once(order: str, stay: list[int]) -> None:
    tables = build(EvictionSettings(max_rows=2, order=order))  # type: ignore[arg-type]
    step(tables, [1, 1, 1], event_ms=1)
    step(tables, [2, 2], event_ms=2)
    step(tables, [3], event_ms=3)
    assert keys_of(tables) == stay


def test_a_table_is_never_larger_than_its_bound_and_keeps_the_frequent() -> None:
    tables = build(EvictionSettings(max_rows=1000))
    random = np.random.default_rng(1)
    often = np.arange(500)
    for _ in range(30):
        step(tables, np.concatenate([often, often, random.integers(10**6, 10**12, 700)]))
        assert tables.row_count("t") <= 1000
    assert np.isin(often, tables.export("t").keys).mean() > 0.99


def test_a_sweep_looks_at_a_bounded_slice_and_comes_round() -> None:
    tables = build(EvictionSettings(step_ttl=1, rows_per_step=100))
    step(tables, np.arange(4000))
    tables.capture()
    gone = []
    for _ in range(60):
        step(tables, [-1])
        gone.append(len(tables.capture()[0].tombstones))
    # Slices shrink with the table, in rows they stay about a hundred.
    assert max(gone) < 300
    assert sum(gone) == 4000


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="eviction max_rows -1"):
        EvictionSettings(max_rows=-1)
    with pytest.raises(ValueError, match="eviction half_norm nan"):
        EvictionSettings(half_norm=float("nan"))
    with pytest.raises(ValueError, match="eviction rows_per_step 0"):
        EvictionSettings(rows_per_step=0)


def test_a_large_table_that_was_written_back_in_another_order_evicts_the_same_rows() -> None:
    """60,000 keys in many shards; a slice depends on keys alone, not on how the index grew or where rows lie."""
    random = np.random.default_rng(4)
    rules = EvictionSettings(step_ttl=9, half_norm=0.4, max_rows=55_000, rows_per_step=2000, order="lru")
    first = build(rules)
    keys = random.integers(-(2**63), 2**63 - 1, 60_000, dtype=np.int64)
    for begin in range(0, len(keys), 4096):
        step(first, keys[begin : begin + 4096], event_ms=begin, gradient=0.01)
    rows = first.export("t")
    assert len(rows.keys) > 50_000
    order = random.permutation(len(rows.keys))
    second = build(rules)
    second.import_rows(
        TableRows(
            "t",
            rows.keys[order],
            rows.values[order],
            rows.slots[order],
            rows.frequency[order],
            rows.last_seen[order],
            rows.tombstones,
        )
    )
    second.restore(first.state())
    first.capture()
    gone = 0
    for number in range(12):
        batch = np.concatenate([random.choice(keys, 2000), random.integers(-(2**63), 2**63 - 1, 500, dtype=np.int64)])
        for tables in (first, second):
            step(tables, batch, event_ms=10**6 + number, gradient=0.1)
        captured, wanted = second.capture()[0], first.capture()[0]
        np.testing.assert_array_equal(captured.tombstones, wanted.tombstones)
        assert set(captured.keys.tolist()) == set(wanted.keys.tolist())
        gone += len(wanted.tombstones)
    assert gone > 10_000
    assert keys_of(first) == keys_of(second)
