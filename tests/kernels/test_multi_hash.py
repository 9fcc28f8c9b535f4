"""A key's row made of its quotient's and its remainder's, forward and backward."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.row_shapes import COMBINES, Combine
from kernels.settings import Combiner, InitializerSettings, Rung
from kernels.tables import ColumnSettings, EmbeddingTables, MultiHash, OptimizerSettings, TableSettings
from tests.kernels.sampling import EXTREME_KEYS

Q, R, DIM = 5, 4, 6


def build(combine: Combine = "add", combiner: Combiner = "sum", **more: bool) -> EmbeddingTables:
    table = TableSettings(
        "t",
        DIM,
        1,
        InitializerSettings("normal", 1.0),
        OptimizerSettings("sgd", 1.0),
        multi_hash=MultiHash(Q, R, combine),
    )
    length = 3 if combiner == "none" else 0
    return EmbeddingTables([table], [ColumnSettings("c", "t", combiner, length)], 0, 32, **more)


def batch(*lists: list[int]) -> EncodedBatch:
    splits = np.cumsum([0, *map(len, lists)]).astype(np.int32)
    ids = np.array([key for keys in lists for key in keys], np.int64)
    return EncodedBatch(len(lists), (ids,), (splits,), np.empty((len(lists), 0), np.float32))


def look(tables: EmbeddingTables, of: EncodedBatch) -> NDArray[np.float32]:
    tables.prepare(of)
    tables.lookup()
    return tables.buffer[: of.rows, : tables.widths["c"]].copy()


def parts(tables: EmbeddingTables) -> dict[str, dict[int, NDArray[np.float32]]]:
    return {
        name: dict(zip(rows.keys.tolist(), rows.values, strict=True))
        for name in ("t__quotient", "t__remainder")
        for rows in [tables.export(name)]
    }


@pytest.mark.parametrize("combine", COMBINES)
def test_a_row_is_made_of_two(combine: Combine) -> None:
    tables = build(combine)
    keys = [*range(Q * R), Q * R + 3, *EXTREME_KEYS]
    of = batch(*([key] for key in keys))
    found = look(tables, of)
    tables.apply(np.zeros((of.rows, tables.stride), np.float32), 1)
    both = parts(tables)
    for key, row in zip(keys, found, strict=True):
        q, r = divmod(key % 2**64 % (Q * R), R)
        left, right = both["t__quotient"][q], both["t__remainder"][r]
        wanted = {"add": left + right, "multiply": left * right, "concat": np.concatenate([left, right])}[combine]
        np.testing.assert_array_equal(row, wanted)
    assert len(both["t__quotient"]) == Q
    assert len(both["t__remainder"]) == R
    assert len({row.tobytes() for row in found[: Q * R]}) == Q * R


@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize("combiner", ["mean", "none"])
def test_the_gradient_is_that_of_finite_differences(combine: Combine, combiner: Combiner) -> None:
    """Of a random linear function of the buffer, by every coordinate of every part's row."""
    of = batch([0, 1, 7], [1, 1], [19, 4, 0])
    tables = build(combine, combiner)
    look(tables, of)
    tables.apply(np.zeros((of.rows, tables.stride), np.float32), 1)
    gradient = np.random.default_rng(1).standard_normal((of.rows, tables.stride)).astype(np.float32)
    weights = gradient[:, : tables.widths["c"]].astype(np.float64)
    before = parts(tables)
    moved = build(combine, combiner)
    for name in before:
        moved.import_rows(tables.export(name))
    look(moved, of)
    moved.apply(gradient, 1)
    after = parts(moved)
    step = 2.0**-6  # the function is linear in each coordinate, or a product of two: central differences are exact
    for name, rows in before.items():
        exported = tables.export(name)
        for at, key in enumerate(exported.keys.tolist()):
            for d in range(exported.values.shape[1]):
                told = []
                for sign in (1, -1):
                    values = exported.values.copy()
                    values[at, d] += sign * step
                    nudged = build(combine, combiner)
                    for other in before:
                        nudged.import_rows(tables.export(other))
                    nudged.import_rows(replace(exported, values=values))
                    told.append(float((look(nudged, of) * weights).sum()))
                slope = (told[0] - told[1]) / (2 * step)
                np.testing.assert_allclose(rows[key][d] - after[name][key][d], slope, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("combine", COMBINES)
def test_a_replica_reads_the_same(combine: Combine) -> None:
    tables, replica = build(combine), build(combine, trainable=False)
    of = batch([1], [2, 3], [])
    look(tables, of)
    tables.apply(np.ones((3, tables.stride), np.float32), 1)
    for rows in tables.capture():
        replica.import_rows(rows)
    of = batch([1], [2, 3], [19])
    reader = replica.reader()
    np.testing.assert_array_equal(reader.lookup(of)[:, :DIM], look(tables, of))
    assert reader.absent == 1


def test_settings_that_do_not_fit_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="dim 5 of two parts side by side; wanted an even one"):
        TableSettings("t", 5, multi_hash=MultiHash(2, 2, "concat"))
    with pytest.raises(ValueError, match="each part has dim 4; the ladder must stay below"):
        TableSettings("t", 8, ladder=(Rung(4, 2),), multi_hash=MultiHash(2, 2, "concat"))
    with pytest.raises(ValueError, match="combine 'xor'; wanted one of add, multiply, concat"):
        MultiHash(2, 2, "xor")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="wanted at least 1 of each and a product below 2"):
        MultiHash(2**40, 2**40)
