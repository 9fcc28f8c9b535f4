"""A snapshot answers as the learner's tables did when it was made, whatever came before it and comes after."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kernels import _core
from kernels.batch import EncodedBatch
from kernels.rows import TableRows
from kernels.tables import (
    AdaptiveRows,
    AdmissionSettings,
    ColumnSettings,
    EmbeddingTables,
    Snapshot,
    TableSettings,
)
from tests.kernels.sampling import MAX_BATCH, batches, models

NONE = np.empty(0, np.int64)


def rows_of(keys: NDArray[np.int64], values: NDArray[np.float32], tombstones: NDArray[np.int64] = NONE) -> TableRows:
    nothing = np.empty(0, np.uint32)
    return TableRows("t", keys, values, np.empty((len(keys), 0), np.float32), nothing, NONE, tombstones)


def asking(ids: NDArray[np.int64]) -> EncodedBatch:
    return EncodedBatch(len(ids), (ids,), (None,), np.zeros((len(ids), 0), np.float32))


@pytest.fixture
def layout() -> EmbeddingTables:
    return EmbeddingTables([TableSettings("t", 1)], [ColumnSettings("c", "t")], 0, 100_000, trainable=False)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_snapshot_answers_as_the_learner_would(data: st.DataObject) -> None:
    """Every precision, ladder, combiner, admission and initializer; through bases, overlays and compactions."""
    tables, columns, numbers = data.draw(models())
    learner = EmbeddingTables(tables, columns, numbers, MAX_BATCH)
    replica = EmbeddingTables(tables, columns, numbers, MAX_BATCH, trainable=False)
    asked = data.draw(batches(len(columns), numbers))
    snapshot = replica.snapshot(learner.export(table.name) for table in learner.tables)
    kept: list[tuple[Snapshot, NDArray[np.float32]]] = []
    for batch in data.draw(st.lists(batches(len(columns), numbers), max_size=4)):
        learner.prepare(batch)
        learner.lookup()
        learner.apply(np.cos(learner.buffer[: batch.rows]), 9)
        if data.draw(st.booleans()):
            table = data.draw(st.sampled_from(learner.tables)).name
            learner.erase(table, learner.export(table).keys[::2])
        snapshot = snapshot.extended(learner.capture())
        if data.draw(st.booleans()):
            snapshot = snapshot.compacted()
        kept.append((snapshot, learner.reader().lookup(asked).copy()))
        assert snapshot.row_counts() == {table.name: learner.row_count(table.name) for table in learner.tables}
    reader = replica.reader()
    for earlier, wanted in kept:
        np.testing.assert_array_equal(reader.lookup(asked, earlier), wanted)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_deltas_in_any_order_of_rows(data: st.DataObject) -> None:
    """Against a dictionary: the last of equal keys counts, a row wins over a tombstone of its own delta."""
    layout = EmbeddingTables([TableSettings("t", 1)], [ColumnSettings("c", "t")], 0, 64, trainable=False)
    keys = st.lists(st.integers(-6, 6), max_size=12)
    wanted: dict[int, float] = {}
    snapshot = layout.snapshot([])
    everyone = np.arange(-8, 8)
    for version in range(data.draw(st.integers(1, 6))):
        put, gone = data.draw(keys), data.draw(keys)
        for key in gone:
            wanted.pop(key, None)
        values = np.arange(len(put), dtype=np.float32)[:, None] + 100 * version
        wanted |= {key: float(value) for key, value in zip(put, values[:, 0], strict=True)}
        snapshot = snapshot.extended([rows_of(np.array(put, np.int64), values, np.array(gone, np.int64))])
        if data.draw(st.booleans()):
            snapshot = snapshot.compacted()
        reader = layout.reader()
        fresh = reader.lookup(asking(everyone))[:, 0].copy()
        got = reader.lookup(asking(everyone), snapshot)[:, 0]
        assert reader.absent == len(everyone) - len(wanted)
        assert snapshot.row_counts() == {"t": len(wanted)}
        np.testing.assert_array_equal(got, [wanted.get(key, fresh[at]) for at, key in enumerate(everyone.tolist())])


def test_cold_keys_read_the_shared_rows_that_the_learner_draws_for_them() -> None:
    """A snapshot finds rows by another hash than that which shared rows are drawn by; it must not lose the latter."""
    shared = TableSettings("t", 4, admission=AdmissionSettings("counter", 3), adaptive=AdaptiveRows(7))
    learner = EmbeddingTables([shared], [ColumnSettings("c", "t")], 0, 64)
    replica = EmbeddingTables([shared], [ColumnSettings("c", "t")], 0, 64, trainable=False)
    asked = asking(np.arange(-20, 20))
    wanted = learner.reader().lookup(asked).copy()
    assert len(np.unique(wanted, axis=0)) == 7
    snapshot = replica.snapshot(learner.export(table.name) for table in learner.tables)
    np.testing.assert_array_equal(replica.reader().lookup(asked, snapshot), wanted)


def test_many_small_deltas_are_folded_and_large_ones_become_a_base(layout: EmbeddingTables) -> None:
    count = 100_000
    random = np.random.default_rng(3)
    keys = random.integers(-(2**62), 2**62, count)
    values = np.arange(count, dtype=np.float32)[:, None].copy()
    snapshot = layout.snapshot([rows_of(keys, values)])
    reader = layout.reader()
    folded = rebased = 0
    for version in range(1, 90):
        size = 20 if version < 80 else 3_000
        touched = random.choice(count, size, replace=False)
        values[touched] = -version
        snapshot = snapshot.extended([rows_of(keys[touched], values[touched])])
        if snapshot.compaction_due:
            snapshot = snapshot.compacted()
            folded += snapshot.changed_counts()["t"] > 0
            rebased += snapshot.changed_counts()["t"] == 0
            assert not snapshot.compaction_due
        if version % 10 == 0 or version > 80:
            np.testing.assert_array_equal(reader.lookup(asking(keys), snapshot)[:, 0], values[:, 0])
    assert (folded, rebased) == (1, 2)


def test_crowded_hashes_are_all_found(layout: EmbeddingTables) -> None:
    """Some buckets have more keys than tags; none is lost, and none is found that is not there."""
    keys = np.arange(50_000)
    snapshot = layout.snapshot([rows_of(keys, keys.astype(np.float32)[:, None])])
    reader = layout.reader()
    np.testing.assert_array_equal(reader.lookup(asking(keys), snapshot)[:, 0], keys)
    assert reader.absent == 0
    reader.lookup(asking(keys + 50_000), snapshot)
    assert reader.absent == len(keys)


def test_readers_answer_side_by_side_while_others_are_made(layout: EmbeddingTables) -> None:
    keys = np.arange(20_000)
    snapshots = [layout.snapshot([rows_of(keys, np.zeros((len(keys), 1), np.float32))])]

    def ask(worker: int) -> bool:
        reader = layout.reader()
        random = np.random.default_rng(worker)
        for _ in range(100):
            number = len(snapshots) - 1
            ids = random.integers(0, len(keys), 500)
            if not (reader.lookup(asking(ids), snapshots[number])[:, 0] == number).all():
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, worker) for worker in range(4)]
        for number in range(1, 20):
            values = np.full((len(keys), 1), number, np.float32)
            snapshots.append(snapshots[-1].extended([rows_of(keys, values)]))
        assert all(answer.result() for answer in asked)


def test_memory_goes_with_the_last_snapshot_that_needs_it(layout: EmbeddingTables) -> None:
    keys = np.arange(4_000_000)
    values = np.ones((len(keys), 1), np.float32)
    snapshot = layout.snapshot([rows_of(keys, values)])
    size = snapshot.memory_bytes()
    later = snapshot.extended([rows_of(keys[:1000], values[:1000])])
    assert later.memory_bytes() - size < size / 100
    del snapshot
    before = resident_bytes()
    assert layout.reader().lookup(asking(keys[-10:]), later)[0, 0] == 1
    del later
    assert before - resident_bytes() > size * 0.9


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def test_what_does_not_fit_is_refused(layout: EmbeddingTables) -> None:
    snapshot = layout.snapshot([])
    with pytest.raises(KeyError, match="unknown table 'u'"):
        snapshot.extended([TableRows("u", NONE, np.empty((0, 1)), np.empty((0, 0)), NONE, NONE, NONE)])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"values have shape \[1, 2\]; wanted \[1, 1\]"):
        snapshot.extended([rows_of(np.array([1]), np.zeros((1, 2), np.float32))])
    other = EmbeddingTables([TableSettings("t", 2)], [ColumnSettings("c", "t")], 0, 4, trainable=False)
    with pytest.raises(ValueError, match="made of other tables"):
        other.reader().lookup(asking(np.array([1])), snapshot)


@pytest.fixture
def _memory_is_back_afterwards() -> Iterator[None]:
    yield
    _core.fail_allocation_after(-1)


@pytest.mark.usefixtures("_memory_is_back_afterwards")
def test_no_memory_leaves_the_snapshot_as_it_was(layout: EmbeddingTables) -> None:
    keys = np.arange(100)
    snapshot = layout.snapshot([rows_of(keys, keys.astype(np.float32)[:, None])])
    delta = [rows_of(keys[:10], np.full((10, 1), -1, np.float32), keys[50:60])]
    failed = 0
    for allocation in range(100):
        _core.fail_allocation_after(allocation)
        try:
            made = snapshot.extended(delta).compacted()
        except MemoryError:
            failed += 1
            continue
        finally:
            _core.fail_allocation_after(-1)
            np.testing.assert_array_equal(layout.reader().lookup(asking(keys), snapshot)[:, 0], keys)
        assert made.row_counts() == {"t": 90}
        break
    assert failed > 4
