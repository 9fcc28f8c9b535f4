"""Initial rows depend on seed, table, key and coordinate, and on nothing else."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.batch import EncodedBatch
from kernels.tables import ColumnSettings, EmbeddingTables, InitializerSettings, TableSettings
from tests.kernels import reference_hash as reference
from tests.kernels.sampling import EXTREME_KEYS, KEYS

# seed 1, table "item", coordinates 0 to 2; written down in kernels/HASHING.md.
GOLDEN = {
    ("normal", 0): [0.0326485783, -0.337369442, -0.824100733],
    ("normal", -1): [-0.126032397, -0.160545379, 1.11765301],
    ("uniform", 0): [0.0260451678, -0.264161587, -0.590117693],
    ("uniform", -1): [-0.100293718, -0.127548516, 0.736284792],
}


def rows_of(table: TableSettings, keys: list[int], threads: int = 1) -> np.ndarray:  # type: ignore[type-arg]
    tables = EmbeddingTables([table], [ColumnSettings("c", table.name)], 0, max(len(keys), 1), threads)
    ids = np.array(keys, np.int64)
    tables.prepare(EncodedBatch(len(ids), (ids,), (None,), np.empty((len(ids), 0), np.float32)))
    tables.lookup()
    return tables.buffer[: len(keys), : table.dim].copy()


@pytest.mark.parametrize(("kind", "key"), GOLDEN)
def test_golden_vectors(kind: str, key: int) -> None:
    table = TableSettings("item", 3, 1, InitializerSettings(kind, 1.0))  # type: ignore[arg-type]
    np.testing.assert_array_equal(rows_of(table, [key])[0], np.array(GOLDEN[kind, key], np.float32))


@settings(max_examples=100, deadline=None)
@given(
    key=KEYS,
    seed=st.integers(0, 2**63),
    kind=st.sampled_from(["normal", "uniform", "constant"]),
    name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
)
def test_rows_equal_the_written_definition(key: int, seed: int, kind: str, name: str) -> None:
    table = TableSettings(name, 9, seed, InitializerSettings(kind, 0.3))  # type: ignore[arg-type]
    np.testing.assert_array_equal(rows_of(table, [key])[0], reference.initial_row(table, key))


def test_neither_order_nor_company_nor_threads_matter() -> None:
    table = TableSettings("t", 5, 3)
    keys = [*EXTREME_KEYS, *range(100, 400)]
    forward = rows_of(table, keys)
    np.testing.assert_array_equal(forward, rows_of(table, keys[::-1], threads=2)[::-1])
    np.testing.assert_array_equal(forward[3], rows_of(table, [keys[3]])[0])


def test_seed_table_key_and_coordinate_all_matter() -> None:
    base = rows_of(TableSettings("t", 8, 1), [1])[0]
    assert len(set(base.tolist())) == 8
    for other in (TableSettings("t", 8, 2), TableSettings("u", 8, 1)):
        assert not np.any(rows_of(other, [1])[0] == base)
    assert not np.any(rows_of(TableSettings("t", 8, 1), [2])[0] == base)


@pytest.mark.parametrize(
    ("kind", "deviation", "largest"), [("normal", 2.0, 14.0), ("uniform", 2.0 / 3**0.5, 2.0), ("constant", 0.0, 2.0)]
)
def test_distribution(kind: str, deviation: float, largest: float) -> None:
    table = TableSettings("t", 64, 1, InitializerSettings(kind, 2.0))  # type: ignore[arg-type]
    rows = rows_of(table, list(range(4000))).astype(np.float64)
    assert rows.std() == pytest.approx(deviation, rel=0.01)
    assert rows.mean() == pytest.approx(2.0 if kind == "constant" else 0.0, abs=0.02)
    assert np.abs(rows).max() <= largest
    if kind != "constant":
        correlation = np.corrcoef(rows.T) - np.eye(64)
        assert np.abs(correlation).max() < 0.1


def test_quantile_function_against_the_standard_library() -> None:
    """The written-out AS 241 in the reference, which the engine equals bit for bit, against Python's own."""
    normal = statistics.NormalDist()
    for probability in (1e-15, 1e-9, 1e-4, 0.02, 0.0751, 0.3, 0.5, 0.7, 0.925, 0.99, 1 - 1e-9):
        assert reference.normal_quantile(probability) == pytest.approx(normal.inv_cdf(probability), abs=2e-6)
