"""A row looked up in halves is the row looked up whole, whatever the columns are and wherever their rows lie."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.batch import EncodedBatch
from kernels.features import FeatureEncoder, IdFeature, NumberFeature
from kernels.tables import ColumnSettings, EmbeddingTables, Snapshot, TableSettings
from tests.kernels.sampling import MAX_BATCH, batches, models


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_halves_are_the_whole(data: st.DataObject) -> None:
    tables, columns, numbers = data.draw(models())
    learner = EmbeddingTables(tables, columns, numbers, MAX_BATCH)
    replica = EmbeddingTables(tables, columns, numbers, MAX_BATCH, trainable=False)
    batch = data.draw(batches(len(columns), numbers))
    learner.prepare(batch)
    learner.lookup()
    learner.apply(np.cos(learner.buffer[: batch.rows]), 9)
    snapshot = replica.snapshot(learner.export(table.name) for table in learner.tables)
    asked = dataclasses.replace(data.draw(batches(len(columns), numbers)), weights=())
    shared = set(data.draw(st.lists(st.sampled_from(range(len(columns) + numbers)), unique=True)))
    asked = of_the_first_row(asked, shared, [column.combiner != "none" for column in columns])
    reader = replica.reader()
    whole = reader.lookup(asked, snapshot).copy()
    absent = reader.absent
    floats = shared_floats(replica, [column.name for column in columns], shared)
    halves = replica.halves(floats)
    own = np.full((asked.rows, halves.own_width), np.nan, np.float32)
    once = np.full(halves.shared_width, np.nan, np.float32)
    reader.lookup_halves(asked, snapshot, halves, own, once)
    np.testing.assert_array_equal(own, np.delete(whole, floats, axis=1))
    if asked.rows:
        np.testing.assert_array_equal(once, whole[0, floats])
        assert reader.absent == absent


def of_the_first_row(batch: EncodedBatch, shared: set[int], once: list[bool]) -> EncodedBatch:
    """The batch where columns that are shared say in every row what they say in the first.

    Every other one has a single id for all rows, of those that may (`once`): a sequence has its splits.
    """
    ids, splits = list(batch.ids), list(batch.splits)
    for place in shared & set(range(len(ids))) if batch.rows else set():
        split = splits[place]
        if split is None:
            ids[place] = ids[place][:1] if place % 2 and once[place] else np.repeat(ids[place][:1], batch.rows)
        else:
            first = ids[place][split[0] : split[1]]
            ids[place] = np.tile(first, batch.rows)
            splits[place] = (np.arange(batch.rows + 1) * len(first)).astype(np.int32)
    numbers = batch.numbers.copy()
    for place in shared:
        if place >= len(ids):
            numbers[:, place - len(ids)] = numbers[:1, place - len(ids)]
    return dataclasses.replace(batch, ids=tuple(ids), splits=tuple(splits), numbers=numbers)


def shared_floats(
    tables: EmbeddingTables, names: list[str], shared: set[int]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    floats: list[int] = []
    for place in shared:
        if place < len(names):
            begin = tables.offsets[names[place]]
            floats += range(begin, begin + tables.widths[names[place]])
        else:
            floats.append(tables.numbers_offset + place - len(names))
    return np.array(sorted(floats), np.int64)


@pytest.fixture
def layout() -> EmbeddingTables:
    columns = [ColumnSettings("a", "t"), ColumnSettings("b", "t")]
    return EmbeddingTables([TableSettings("t", 2)], columns, 1, 64, trainable=False)


@pytest.fixture
def empty(layout: EmbeddingTables) -> Snapshot:
    return layout.snapshot([])


def test_a_column_that_is_shared_in_part(layout: EmbeddingTables) -> None:
    with pytest.raises(ValueError, match="column 1 is shared in part"):
        layout.halves(np.array([2]))
    with pytest.raises(ValueError, match="shared float 16 is not in a row of 16"):
        layout.halves(np.array([16]))


def test_where_there_is_no_room(layout: EmbeddingTables, empty: Snapshot) -> None:
    halves = layout.halves(np.array([0, 1]))
    batch = EncodedBatch(2, (np.array([1]), np.array([3, 4])), (None, None), np.zeros((2, 1), np.float32))
    for rows, own, once in ((2, 13, 2), (1, 14, 2), (2, 14, 3)):
        with pytest.raises(ValueError, match="wanted room for"):
            layout.reader().lookup_halves(
                batch, empty, halves, np.zeros((rows, own), np.float32), np.zeros(once, np.float32)
            )


@pytest.mark.parametrize("wrong", [np.array([1.0, 2.0]), np.array([1, 2], np.int32), b"123", np.array([1, 2, 3])])
def test_ids_that_are_none(layout: EmbeddingTables, empty: Snapshot, wrong: object) -> None:
    halves = layout.halves(np.array([0, 1]))
    ids: tuple[object, ...] = (np.array([1]), wrong)
    batch = EncodedBatch(2, ids, (None, None), np.zeros((2, 1), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ids"):
        layout.reader().lookup_halves(batch, empty, halves, np.zeros((2, 14), np.float32), np.zeros(2, np.float32))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_encoded_to_be_read(data: st.DataObject) -> None:
    """Arrays, Arrow with and without nulls, slices and single values stand for the same ids as ever."""
    encoder = FeatureEncoder(
        [IdFeature("a", "a", "t"), IdFeature("b", "b", "t"), NumberFeature("n", "n"), IdFeature("a2", "a", "t")]
    )
    tables = EmbeddingTables([TableSettings("t", 2)], encoder.columns, encoder.numbers, 64, trainable=False)
    rows = data.draw(st.integers(1, 5))
    columns: dict[str, object] = {"n": pa.array([1.5] * rows)}
    for name in ("a", "b"):
        count = data.draw(st.sampled_from([rows, 1]))
        values = data.draw(st.lists(st.integers(-9, 9), min_size=count, max_size=count))
        columns[name] = data.draw(
            st.sampled_from(
                [
                    np.array(values),
                    np.frombuffer(b"1" + np.array(values).tobytes(), np.int64, count, 1),
                    pa.array(values),
                    pa.array([7, *values]).slice(1),
                    pa.array([*values, 7]).slice(0, count),
                    pa.array([None, *values[1:]], pa.int64()),
                ]
            )
        )
    arrow = {name: pa.array(one) if isinstance(one, np.ndarray) else one for name, one in columns.items()}
    snapshot = tables.snapshot([])
    reader = tables.reader()
    wanted = reader.lookup(encoder.encode(arrow, rows), snapshot).copy()
    halves = tables.halves(np.empty(0, np.int64))
    own = np.empty((rows, halves.own_width), np.float32)
    reader.lookup_halves(
        encoder.encode_to_read(columns, rows),
        snapshot,
        halves,
        own,
        np.empty(0, np.float32),
    )
    np.testing.assert_array_equal(own, wanted)
