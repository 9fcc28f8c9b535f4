"""What a capture holds, and that nothing is lost between captures."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.batch import EncodedBatch
from kernels.lifecycle_settings import AdmissionSettings
from kernels.rows import TableRows
from kernels.tables import ColumnSettings, EmbeddingTables, InitializerSettings, OptimizerSettings, TableSettings


def build() -> EmbeddingTables:
    tables = [
        TableSettings("a", 2, 1, InitializerSettings("constant", 1.0)),
        TableSettings("b", 3, 1, optimizer=OptimizerSettings("adam")),
    ]
    return EmbeddingTables(tables, [ColumnSettings("x", "a"), ColumnSettings("y", "b")], 0, 8)


def look(tables: EmbeddingTables, a: list[int], b: list[int]) -> None:
    ids = (np.array(a, np.int64), np.array(b, np.int64))
    tables.prepare(EncodedBatch(len(a), ids, (None, None), np.empty((len(a), 0), np.float32)))
    tables.lookup()


def step(tables: EmbeddingTables, a: list[int], b: list[int], event_ms: int = 0) -> None:
    look(tables, a, b)
    tables.apply(np.ones((len(a), tables.stride), np.float32), event_ms)


def test_a_capture_holds_touched_rows_in_order_of_first_touch_and_then_forgets() -> None:
    tables = build()
    step(tables, [9, 3, 9], [1, 2, 3], 50)
    step(tables, [4, 3, 3], [3, 3, 3], 40)
    a, b = tables.capture()
    assert (a.table, b.table) == ("a", "b")
    assert a.keys.tolist() == [9, 3, 4]
    assert a.frequency.tolist() == [2, 3, 1]
    assert a.last_seen.tolist() == [50, 50, 40]
    assert b.keys.tolist() == [1, 2, 3]
    assert b.slots[:, -1].tolist() == [1, 1, 2]
    types = [part.dtype.name for part in (a.keys, a.values, a.slots, a.frequency, a.last_seen, a.tombstones)]
    assert types == ["int64", "float32", "float32", "uint32", "int64", "int64"]
    assert (a.values.shape, a.slots.shape, b.values.shape, b.slots.shape) == ((3, 2), (3, 2), (3, 3), (3, 7))
    assert [len(block.keys) for block in tables.capture()] == [0, 0]
    step(tables, [3], [7])
    assert [block.keys.tolist() for block in tables.capture()] == [[3], [7]]


def test_a_lookup_without_a_gradient_leaves_no_trace() -> None:
    tables = build()
    look(tables, [1], [2])
    assert tables.row_count("a") == 0
    step(tables, [3], [4])
    assert tables.export("a").keys.tolist() == [3]
    tables.capture()
    look(tables, [1], [2])
    assert [len(block.keys) for block in tables.capture()] == [0, 0]


def test_a_captured_array_is_a_copy() -> None:
    tables = build()
    step(tables, [1], [1])
    captured = tables.capture()[0]
    before = captured.values.copy()
    step(tables, [1], [1])
    np.testing.assert_array_equal(captured.values, before)


def test_put_back_brings_the_newer_values() -> None:
    tables = build()
    step(tables, [1, 2], [1, 1])
    abandoned = tables.capture()
    step(tables, [2, 3], [5, 5])
    tables.put_back(abandoned)
    a, b = tables.capture()
    assert a.keys.tolist() == [2, 3, 1]
    exported = tables.export("a")
    for key, values in zip(a.keys.tolist(), a.values, strict=True):
        np.testing.assert_array_equal(values, exported.values[exported.keys.tolist().index(key)])
    assert b.keys.tolist() == [5, 1]


def test_an_erased_key_is_a_tombstone_once() -> None:
    tables = build()
    step(tables, [1, 2, 3], [1, 1, 1])
    assert tables.erase("a", np.array([2, 77, 1])) == 2
    a, _ = tables.capture()
    assert a.keys.tolist() == [3]
    assert a.tombstones.tolist() == [1, 2]
    assert not len(tables.capture()[0].tombstones)


def test_a_key_that_came_back_is_a_row_not_a_tombstone() -> None:
    tables = build()
    step(tables, [1, 2], [1, 1])
    tables.capture()
    tables.erase("a", np.array([1, 2]))
    step(tables, [2], [1])
    tables.erase("a", np.array([2]))
    step(tables, [2], [1])
    a, _ = tables.capture()
    assert (a.keys.tolist(), a.tombstones.tolist()) == ([2], [1])
    assert a.frequency.tolist() == [1]


def test_a_key_erased_and_only_looked_up_again_stays_a_tombstone() -> None:
    tables = build()
    step(tables, [1], [1])
    tables.capture()
    tables.erase("a", np.array([1]))
    look(tables, [1], [1])
    assert tables.buffer[0, :2].tolist() == [1.0, 1.0]
    a, _ = tables.capture()
    assert (a.keys.tolist(), a.tombstones.tolist()) == ([], [1])


def test_put_back_keeps_tombstones_and_turns_lost_rows_into_them() -> None:
    tables = build()
    step(tables, [1, 2, 3], [1, 1, 1])
    tables.erase("a", np.array([3]))
    abandoned = tables.capture()
    tables.erase("a", np.array([1]))
    tables.put_back(abandoned)
    a, _ = tables.capture()
    assert (a.keys.tolist(), a.tombstones.tolist()) == ([2], [1, 3])


def test_erase_between_lookup_and_apply_is_refused() -> None:
    tables = build()
    look(tables, [1], [1])
    with pytest.raises(ValueError, match="applied first"):
        tables.erase("a", np.array([1]))
    tables.apply(np.ones((1, tables.stride), np.float32), 0)


def test_folding_captures_gives_the_tables() -> None:
    """Deltas imported in order give the same rows as the tables that made them, tombstones included."""
    random = np.random.default_rng(5)
    tables, replica = build(), build()
    for _ in range(30):
        step(tables, random.integers(0, 20, 6).tolist(), random.integers(-9, 9, 6).tolist(), int(random.integers(99)))
        if random.random() < 0.4:
            tables.erase("a", random.integers(0, 20, 3))
        if random.random() < 0.3:
            for block in tables.capture():
                replica.import_rows(block)
    for block in tables.capture():
        replica.import_rows(block)
    for name in ("a", "b"):
        left, right = tables.export(name), replica.export(name)
        order, other = np.argsort(left.keys), np.argsort(right.keys)
        for part in ("keys", "values", "slots", "frequency", "last_seen"):
            np.testing.assert_array_equal(getattr(left, part)[order], getattr(right, part)[other], part)
    assert not any(len(block.keys) for block in replica.capture())


def test_unknown_tables_and_wrong_shapes_are_refused() -> None:
    tables = build()
    step(tables, [1], [1])
    a, b = tables.capture()
    with pytest.raises(KeyError, match="unknown table 'z'; there are: a, b"):
        tables.export("z")
    with pytest.raises(ValueError, match=r"table 'b': values have shape \[1, 2\]; wanted \[1, 3\]"):
        tables.import_rows(type(a)("b", a.keys, a.values, a.slots, a.frequency, a.last_seen, a.tombstones))
    with pytest.raises(ValueError, match=r"table 'b': slots have shape \[1, 3\]; wanted \[1, 7\]: .*another optimizer"):
        tables.import_rows(type(b)("b", b.keys, b.values, b.slots[:, :3], b.frequency, b.last_seen, b.tombstones))
    assert tables.row_count("b") == 1


def test_an_imported_row_is_nobodys_change_even_in_the_place_of_a_changed_one() -> None:
    tables = build()
    step(tables, [1], [1])
    tables.capture()
    rows = tables.export("a")
    step(tables, [2], [1])
    # The changed row leaves, and the imported one takes its place.
    nothing = (rows.values[:0], rows.slots[:0], rows.frequency[:0], rows.last_seen[:0])
    tables.import_rows(TableRows("a", rows.keys[:0], *nothing, np.array([1, 2])))
    tables.import_rows(rows)
    assert tables.capture()[0].keys.tolist() == []
    tables.import_rows(TableRows("a", rows.keys[:0], *nothing, np.array([1])))
    step(tables, [2], [1])
    tables.import_rows(TableRows("a", rows.keys[:0], *nothing, np.array([2])))
    tables.import_rows(rows)
    # Once it does change, it is told once.
    step(tables, [1], [1])
    assert tables.capture()[0].keys.tolist() == [1]


def test_imported_counts_are_nobodys_change_even_in_the_place_of_a_changed_one() -> None:
    table = TableSettings("t", 1, 1, admission=AdmissionSettings("counter", 9))
    tables = EmbeddingTables([table], [ColumnSettings("c", "t")], 0, 8)

    def count(key: int) -> None:
        tables.prepare(EncodedBatch(1, (np.array([key]),), (None,), np.empty((1, 0), np.float32)))
        tables.lookup()
        tables.apply(np.zeros((1, tables.stride), np.float32), 0)

    count(1)
    counts = tables.export("t").counts
    assert counts is not None
    tables.import_counts(replace(counts, occurrences=np.zeros(1, np.uint32)))
    tables.import_counts(replace(counts, keys=np.array([5])))
    captured = tables.capture()[0].counts
    assert captured is not None
    assert captured.keys.tolist() == []
