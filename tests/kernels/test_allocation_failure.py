"""Memory that runs out at any allocation leaves every table as it was."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from kernels import _core
from kernels.batch import EncodedBatch
from kernels.lifecycle_settings import AdmissionSettings, EvictionSettings
from kernels.rows import AdmissionCounts, TableRows
from kernels.sample_window import SampleIdWindow
from kernels.tables import ColumnSettings, EmbeddingTables, TableSettings
from tests.kernels.reference_lifecycle import hash_key

NUMBERS = np.empty((64, 0), np.float32)


@pytest.fixture(autouse=True)
def _memory_is_back_afterwards() -> Iterator[None]:
    yield
    _core.fail_allocation_after(-1)


def until_it_succeeds(call: Callable[[], object], unchanged: Callable[[], None], least: int) -> None:
    """Lets the first, second, ... allocation of ``call`` fail until none is left to fail."""
    for allocation in range(10_000):
        _core.fail_allocation_after(allocation)
        try:
            call()
        except MemoryError:
            _core.fail_allocation_after(-1)
            unchanged()
            continue
        _core.fail_allocation_after(-1)
        assert allocation >= least, "nothing failed, nothing was tested"
        return
    pytest.fail("no end of allocations")


def state(tables: EmbeddingTables) -> list[bytes]:
    parts = []
    for table in tables.tables:
        rows = tables.export(table.name)
        parts += [rows.keys.tobytes(), rows.values.tobytes(), rows.slots.tobytes(), rows.frequency.tobytes()]
    return parts


def build() -> EmbeddingTables:
    tables = EmbeddingTables(
        [TableSettings("a", 3), TableSettings("b", 16)], [ColumnSettings("x", "a"), ColumnSettings("y", "b")], 0, 64
    )
    step(tables, np.arange(64))
    tables.capture()
    step(tables, np.arange(10, 74))
    return tables


def batch(ids: np.ndarray) -> EncodedBatch:  # type: ignore[type-arg]
    return EncodedBatch(64, (ids, -ids), (None, None), NUMBERS)


def step(tables: EmbeddingTables, ids: np.ndarray) -> None:  # type: ignore[type-arg]
    tables.prepare(batch(ids))
    tables.lookup()
    tables.apply(np.ones((64, tables.stride), np.float32), 7)


def same_as(tables: EmbeddingTables) -> Callable[[], None]:
    before = state(tables)

    def check() -> None:
        assert state(tables) == before

    return check


def test_a_lookup_can_be_repeated() -> None:
    tables = build()
    many = EncodedBatch(
        64, (np.arange(5000), np.arange(64)), (np.linspace(0, 5000, 65).astype(np.int32), None), NUMBERS
    )
    tables.prepare(many)
    until_it_succeeds(tables.lookup, same_as(tables), least=3)
    assert tables.row_count("a") == tables.row_count("b") == 74


def test_apply_creates_and_updates_all_rows_or_none() -> None:
    tables = build()
    wanted = build()
    for one in (tables, wanted):
        for begin in range(2000, 2000 + 9 * 64, 64):
            step(one, np.arange(begin, begin + 64))  # until the index, too, must grow in the step that follows
        one.prepare(batch(np.arange(1000, 1064)))
        one.lookup()
    gradient = np.ones((64, tables.stride), np.float32)
    until_it_succeeds(lambda: tables.apply(gradient, 9), same_as(tables), least=3)
    wanted.apply(gradient, 9)
    assert state(tables) == state(wanted)
    assert tables.row_count("a") == tables.row_count("b") == 74 + 10 * 64


def test_a_step_that_admits_and_forgets_many_counts_reserves_room_for_both() -> None:
    """Both note erased counts: room for the larger of the two is not enough."""
    table = TableSettings(
        "a",
        1,
        admission=AdmissionSettings("counter", 2),
        eviction=EvictionSettings(time_ttl_ms=1000, rows_per_step=3000),
    )
    tables = EmbeddingTables([table], [ColumnSettings("x", "a")], 0, 6000)

    keys, zeros = np.arange(6000), np.zeros(6000, np.int64)
    tables.import_counts(AdmissionCounts("a", keys, np.zeros((6000, 0), np.uint8), np.ones(6000, np.uint32), zeros))
    # The step sweeps the lower half of the hashes, and admits the keys of the upper one.
    admitted = np.array([key for key in range(6000) if hash_key(key) % 2**32 >= 2**31])
    tables.prepare(EncodedBatch(len(admitted), (admitted,), (None,), np.empty((len(admitted), 0), np.float32)))
    tables.lookup()
    gradient = np.zeros((len(admitted), tables.stride), np.float32)
    # What fails after the reserve ends the process.
    until_it_succeeds(lambda: tables.apply(gradient, 5000), same_as(tables), least=3)
    assert tables.row_count("a") == len(admitted)
    counts = tables.capture()[0].counts
    assert counts is not None
    assert sorted(counts.keys.tolist()) == list(range(6000))
    assert not np.any(counts.occurrences)


def test_prepare_can_be_repeated() -> None:
    tables = build()
    big = EncodedBatch(64, (np.arange(5000), np.arange(64)), (np.linspace(0, 5000, 65).astype(np.int32), None), NUMBERS)
    until_it_succeeds(lambda: tables.prepare(big), same_as(tables), least=3)
    tables.lookup()
    tables.apply(np.ones((64, tables.stride), np.float32), 7)
    assert tables.row_count("a") == 5000


def test_an_import_writes_everything_or_nothing() -> None:
    tables = build()
    n = 30_000
    rows = TableRows(
        "b",
        np.arange(n) * 3,
        np.ones((n, 16), np.float32),
        np.ones((n, 16), np.float32),
        np.ones(n, np.uint32),
        np.ones(n, np.int64),
        np.arange(-80, 0),
    )
    until_it_succeeds(lambda: tables.import_rows(rows), same_as(tables), least=8)
    exported = tables.export("b")
    assert len(exported.keys) == n
    assert np.all(exported.values == 1)


def counting() -> EmbeddingTables:
    """A table with rows, counts, and both gone and changed ones since its last capture."""
    table = TableSettings("a", 3, admission=AdmissionSettings("bloom", 2, capacity=100))
    other = TableSettings("b", 16, admission=AdmissionSettings("counter", 2))
    tables = EmbeddingTables([table, other], [ColumnSettings("x", "a"), ColumnSettings("y", "b")], 0, 64)
    step(tables, np.arange(64))
    tables.capture()
    step(tables, np.arange(40, 104))
    return tables


def all_of(blocks: list[TableRows]) -> list[bytes]:
    parts = []
    for rows in blocks:
        parts += [rows.keys.tobytes(), rows.values.tobytes(), rows.slots.tobytes(), rows.tombstones.tobytes()]
        counts = rows.counts
        assert counts is not None
        parts += [counts.keys.tobytes(), counts.counters.tobytes(), counts.occurrences.tobytes()]
    return parts


def test_an_import_writes_rows_and_counts_or_neither() -> None:
    tables, source = counting(), counting()
    for begin in range(1000, 30_000, 32):
        step(source, np.repeat(np.arange(begin, begin + 32), 2) if begin % 64 else np.arange(begin, begin + 64))
    for name in ("a", "b"):
        rows = source.export(name)
        before = [all_of([tables.export(each)]) for each in ("a", "b")]

        def unchanged(before: list[list[bytes]] = before) -> None:
            assert [all_of([tables.export(each)]) for each in ("a", "b")] == before

        until_it_succeeds(lambda rows=rows: tables.import_rows(rows), unchanged, least=8)  # type: ignore[misc]
        counts, wanted = tables.export(name).counts, rows.counts
        assert counts is not None and wanted is not None
        assert set(wanted.keys.tolist()) <= set(counts.keys.tolist())


def test_an_import_of_counts_that_do_not_fit_writes_no_rows() -> None:
    tables = counting()
    rows = counting().export("b")
    before = all_of([tables.export("b")])
    assert rows.counts is not None
    wrong = replace(rows.counts, counters=np.zeros((len(rows.counts.keys), 64), np.uint8))
    with pytest.raises(ValueError, match="counts of 64 bytes per key; wanted 0"):
        tables.import_rows(replace(rows, values=rows.values + 1, counts=wrong))
    with pytest.raises(ValueError, match="rows of table 'b' with counts of 'a'"):
        tables.import_rows(replace(rows, values=rows.values + 1, counts=replace(rows.counts, table="a")))
    assert all_of([tables.export("b")]) == before


def test_a_capture_of_counts_that_fails_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise MemoryError

    tables, wanted = counting(), counting()
    # numpy has no failing allocator; whatever it copied would stand in for it.
    for name in ("concatenate", "array", "copy"):
        monkeypatch.setattr(np, name, no_room)
    captured: list[TableRows] = []
    until_it_succeeds(lambda: captured.extend(tables.capture()), same_as(tables), least=10)
    monkeypatch.undo()
    assert all_of(captured) == all_of(wanted.capture())
    gone = captured[1].counts
    assert gone is not None
    assert gone.keys[gone.occurrences == 0].tolist() == list(range(-63, -39))


def test_a_capture_that_fails_forgets_nothing() -> None:
    tables, wanted = build(), build()
    for one in (tables, wanted):
        one.erase("a", np.arange(5))
    captured: list[TableRows] = []
    until_it_succeeds(lambda: captured.extend(tables.capture()), same_as(tables), least=5)
    for left, right in zip(captured, wanted.capture(), strict=True):
        np.testing.assert_array_equal(left.keys, right.keys)
        np.testing.assert_array_equal(left.values, right.values)
        np.testing.assert_array_equal(left.tombstones, right.tombstones)


def test_put_back_marks_all_or_none() -> None:
    tables = build()
    abandoned = tables.capture()
    until_it_succeeds(lambda: tables.put_back(abandoned), same_as(tables), least=1)
    for left, right in zip(abandoned, tables.capture(), strict=True):
        np.testing.assert_array_equal(left.keys, right.keys)


def test_erase_deletes_all_or_none() -> None:
    tables = build()
    until_it_succeeds(lambda: tables.erase("a", np.arange(40)), same_as(tables), least=1)
    captured = tables.capture()[0]
    assert sorted(captured.keys.tolist()) == list(range(40, 74))
    assert captured.tombstones.tolist() == list(range(40))


def test_the_window_admits_all_or_none() -> None:
    window = SampleIdWindow(1000)
    window.admit([b"a"], np.array([1]))
    ids = [str(i).encode() for i in range(500)]
    known = np.arange(500)

    def unchanged() -> None:
        assert len(window) == 1

    until_it_succeeds(lambda: window.admit(ids, known), unchanged, least=2)
    assert len(window) == 501
    assert len(window.capture()) == 501
