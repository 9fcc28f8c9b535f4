"""Replicas: values only, readers that change nothing, many at once."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.batch import EncodedBatch
from kernels.rows import TableRows
from kernels.tables import ColumnSettings, EmbeddingTables, TableSettings
from tests.kernels.sampling import MAX_BATCH, batches, models


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_replica_answers_as_the_learner_would(data: st.DataObject) -> None:
    tables, columns, numbers = data.draw(models())
    learner = EmbeddingTables(tables, columns, numbers, MAX_BATCH)
    replica = EmbeddingTables(tables, columns, numbers, MAX_BATCH, trainable=False)
    for batch in data.draw(st.lists(batches(len(columns), numbers), max_size=3)):
        learner.prepare(batch)
        learner.lookup()
        learner.apply(np.cos(learner.buffer[: batch.rows]), 9)
        for block in learner.capture():
            replica.import_rows(block)
    before = [replica.row_count(table.name) for table in replica.tables]
    asked = data.draw(batches(len(columns), numbers))
    answered = replica.reader().lookup(asked)
    # What the learner itself answers when it does not learn: nobody new is admitted.
    np.testing.assert_array_equal(answered, learner.reader().lookup(asked))
    if all(table.admission.kind == "always" for table in tables):
        learner.prepare(asked)
        learner.lookup()
        np.testing.assert_array_equal(answered, learner.buffer[: asked.rows])
    assert [replica.row_count(table.name) for table in replica.tables] == before


def replica_with(n: int) -> EmbeddingTables:
    replica = EmbeddingTables(
        [TableSettings("t", 8)], [ColumnSettings("c", "t"), ColumnSettings("d", "t", "sum")], 1, 100, trainable=False
    )
    keys = np.arange(n)
    values = np.repeat(keys, 8).reshape(n, 8).astype(np.float32)
    none = np.empty(0, np.int64)
    replica.import_rows(TableRows("t", keys, values, np.empty((n, 0), np.float32), np.empty(0, np.uint32), none, none))
    return replica


def asking(ids: np.ndarray) -> EncodedBatch:  # type: ignore[type-arg]
    return EncodedBatch(len(ids), (ids, ids), (None, None), np.zeros((len(ids), 1), np.float32))


def test_a_replica_keeps_values_only() -> None:
    replica = replica_with(1000)
    assert replica.slot_width("t") == 0
    rows = replica.export("t")
    assert rows.slots.shape == (1000, 0)
    assert not rows.frequency.any()
    assert not rows.last_seen.any()


def test_a_replica_does_not_train() -> None:
    replica = replica_with(1)
    with pytest.raises(ValueError, match=r"read through reader\(\)"):
        replica.prepare(asking(np.array([0])))


def test_readers_answer_side_by_side() -> None:
    replica = replica_with(20_000)

    def ask(worker: int) -> bool:
        reader = replica.reader()
        random = np.random.default_rng(worker)
        for _ in range(150):
            ids = random.integers(0, 20_000, 100)
            rows = reader.lookup(asking(ids))
            if not np.array_equal(rows[:, :16], np.repeat(ids, 16).reshape(100, 16)):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(8)))


@pytest.mark.parametrize("rows", [0, 1, 2, 100])
def test_a_single_id_stands_for_all_rows(rows: int) -> None:
    """By a reader that never had so many before, and again; only a reader takes it."""
    replica = replica_with(50)
    reader = replica.reader()
    for key in (7, 31):
        single, own = np.array([key]), np.arange(rows)
        for ids in ((single, own), (own, single), (single, single)):
            numbers = np.zeros((rows, 1), np.float32)
            got = reader.lookup(EncodedBatch(rows, ids, (None, None), numbers)).copy()
            same = tuple(np.repeat(one, rows) if len(one) != rows else one for one in ids)
            np.testing.assert_array_equal(got, replica.reader().lookup(EncodedBatch(rows, same, (None, None), numbers)))
    learner = EmbeddingTables([TableSettings("t", 2)], [ColumnSettings("c", "t")], 0, 9)
    with pytest.raises(ValueError, match="1 ids without splits; wanted one per row, 9"):
        learner.prepare(EncodedBatch(9, (np.array([1]),), (None,), np.zeros((9, 0), np.float32)))


def test_a_reader_keeps_its_tables_alive() -> None:
    reader = replica_with(10).reader()
    assert reader.lookup(asking(np.array([4])))[0, 0] == 4
