"""Cold keys share rows by hash, train them, and begin with them once they have a row of their own."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.rows import TableRows
from kernels.settings import InitializerSettings
from kernels.tables import (
    AdaptiveRows,
    AdmissionSettings,
    ColumnSettings,
    EmbeddingTables,
    EvictionSettings,
    OptimizerSettings,
    Rung,
    TableSettings,
)
from tests.kernels.reference_shapes import Adaptive

SETTINGS = TableSettings(
    "t",
    4,
    optimizer=OptimizerSettings("sgd", 1.0),
    initializer=InitializerSettings("normal", 1.0),
    admission=AdmissionSettings("counter", 3),
    adaptive=AdaptiveRows(2),
)


def build(settings: TableSettings = SETTINGS, **more: bool) -> EmbeddingTables:
    return EmbeddingTables([settings], [ColumnSettings("c", "t", "sum")], 0, 64, **more)


def batch(keys: list[int]) -> EncodedBatch:
    return EncodedBatch(len(keys), (np.array(keys, np.int64),), (None,), np.empty((len(keys), 0), np.float32))


def look(tables: EmbeddingTables, keys: list[int]) -> NDArray[np.float32]:
    tables.prepare(batch(keys))
    tables.lookup()
    return tables.buffer[: len(keys), : tables.widths["c"]].copy()


def step(tables: EmbeddingTables, keys: list[int], gradient: float = 1.0) -> NDArray[np.float32]:
    before = look(tables, keys)
    tables.apply(np.full((len(keys), tables.stride), gradient, np.float32), 1)
    return before


def neighbours(settings: TableSettings = SETTINGS) -> tuple[int, int, int]:
    """Two keys of one shared row, and one of the other."""
    of = Adaptive(settings).shared_key
    first = 0
    same = next(key for key in range(1, 100) if of(key) == of(first))
    other = next(key for key in range(1, 100) if of(key) != of(first))
    return first, same, other


def test_cold_keys_of_one_hash_learn_together() -> None:
    tables = build()
    a, b, c = neighbours()
    before = look(tables, [a, b, c])
    np.testing.assert_array_equal(before[0], before[1])
    assert np.all(before[0] != before[2])
    step(tables, [a, b])
    after = look(tables, [a, b, c])
    np.testing.assert_array_equal(after[0], after[1])
    np.testing.assert_array_equal(after[0], before[0] - 2)
    np.testing.assert_array_equal(after[2], before[2])
    assert tables.row_count("t") == 0
    assert tables.row_count("t__shared") == 1


def test_a_row_of_its_own_begins_with_the_shared_one_and_leaves_it_alone() -> None:
    tables = build()
    a, b, _ = neighbours()
    step(tables, [a, a, b])
    shared = look(tables, [b])[0]
    np.testing.assert_array_equal(step(tables, [a, b])[0], shared)  # its third occurrence
    assert tables.row_count("t") == 1
    after = look(tables, [a, b])
    np.testing.assert_array_equal(after, [shared - 1, shared - 1])
    step(tables, [a])
    after = look(tables, [a, b])
    np.testing.assert_array_equal(after, [shared - 2, shared - 1])


def test_a_key_that_is_admitted_at_once_leaves_no_shared_row() -> None:
    tables = build()
    step(tables, [5, 5, 5])
    assert (tables.row_count("t"), tables.row_count("t__shared")) == (1, 0)
    assert not len(tables.capture()[1].keys)


def test_an_evicted_key_is_cold_again() -> None:
    tables = build(
        TableSettings(
            "t",
            4,
            optimizer=SETTINGS.optimizer,
            admission=SETTINGS.admission,
            adaptive=SETTINGS.adaptive,
            eviction=EvictionSettings(max_rows=1),
        )
    )
    a, b, _ = neighbours()
    step(tables, [a] * 3)
    step(tables, [b] * 4)
    assert tables.export("t").keys.tolist() == [b]
    assert tables.row_count("t__shared") == 0
    step(tables, [a])
    np.testing.assert_array_equal(tables.export("t__shared").keys, [Adaptive(SETTINGS).shared_key(a)])
    np.testing.assert_array_equal(look(tables, [a])[0], tables.export("t__shared").values[0])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_with_a_ladder_shared_rows_are_as_small_as_new_ones(precision: str) -> None:
    settings = TableSettings(
        "t",
        4,
        initializer=SETTINGS.initializer,
        optimizer=SETTINGS.optimizer,
        admission=SETTINGS.admission,
        adaptive=SETTINGS.adaptive,
        precision=precision,  # type: ignore[arg-type]
        ladder=(Rung(2, 4),),
    )
    tables = build(settings)
    cold = step(tables, [1])[0]
    assert np.all(cold[:2] != 0)
    assert not np.any(cold[2:])
    assert tables.export("t__shared").values.shape == (1, 2)
    shared = look(tables, [1])[0]
    np.testing.assert_array_equal(step(tables, [1, 1], 0)[0], shared)
    np.testing.assert_array_equal(look(tables, [1])[0], shared)
    step(tables, [1, 1], 0)  # its own row has been trained four times
    assert np.all(look(tables, [1])[0, 2:] != 0)


def test_a_replica_answers_a_cold_key_with_the_shared_row() -> None:
    tables, replica = build(), build(trainable=False)
    a, b, c = neighbours()
    step(tables, [a, b, c])
    step(tables, [a, a, c])
    for rows in tables.capture():
        replica.import_rows(rows)
    reader = replica.reader()
    np.testing.assert_array_equal(reader.lookup(batch([a, b, c, 99]))[:, :4], look(tables, [a, b, c, 99]))
    assert reader.absent == 3
    # Before anything was trained, too.
    np.testing.assert_array_equal(build(trainable=False).reader().lookup(batch([a]))[:, :4], look(build(), [a]))


def test_a_state_moves_with_its_shared_rows() -> None:
    tables, other = build(), build()
    rng = np.random.default_rng(3)
    for _ in range(5):
        step(tables, rng.integers(0, 30, 40).tolist())
    for rows in tables.capture():
        other.import_rows(rows)
    other.restore(tables.state())
    keys = rng.integers(0, 40, 40).tolist()
    np.testing.assert_array_equal(step(tables, keys), step(other, keys))
    assert [contents(tables, name) for name in ("t", "t__shared")] == [
        contents(other, name) for name in ("t", "t__shared")
    ]


def contents(tables: EmbeddingTables, name: str) -> dict[int, bytes]:
    rows: TableRows = tables.export(name)
    return {key: rows.values[i].tobytes() + rows.slots[i].tobytes() for i, key in enumerate(rows.keys.tolist())}


def test_a_gradient_that_only_the_shared_row_finds_too_large_changes_nothing() -> None:
    tables = build()
    a, b, _ = neighbours()
    step(tables, [a, b])
    before = [contents(tables, name) for name in ("t", "t__shared")]
    look(tables, [a, b])
    with pytest.raises(ValueError, match="the gradient for table 't__shared' is not finite; no row was changed"):
        tables.apply(np.full((2, tables.stride), 3e38, np.float32), 1)
    assert [contents(tables, name) for name in ("t", "t__shared")] == before


def test_settings_that_would_never_be_used_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="adaptive rows would never be used: admission `always`"):
        TableSettings("t", 4, adaptive=AdaptiveRows(2))
    with pytest.raises(ValueError, match="not_admitted would never be read"):
        TableSettings("t", 4, admission=AdmissionSettings("counter", 3, not_admitted=1.0), adaptive=AdaptiveRows(2))
    with pytest.raises(ValueError, match="adaptive rows 0; wanted 1 to"):
        AdaptiveRows(0)
    with pytest.raises(ValueError, match="wanted at most 63 characters"):
        TableSettings("t" * 60, 4, admission=SETTINGS.admission, adaptive=AdaptiveRows(2))
    with pytest.raises(ValueError, match="table names must be unique; twice: t__shared"):
        EmbeddingTables([SETTINGS, TableSettings("t__shared", 4)], [], 0, 1)
