"""The combiner `none`: ids side by side in their order, cut and padded to one length."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.features import IdFeature
from kernels.optimizer_settings import OptimizerSettings
from kernels.settings import InitializerSettings, Keep
from kernels.tables import ColumnSettings, EmbeddingTables, TableSettings

DIM = 2


def build(length: int = 3, keep: Keep = "last") -> EmbeddingTables:
    """A row's coordinates begin as its key's draw; a step takes the gradient away as it is."""
    table = TableSettings("t", DIM, 1, InitializerSettings("normal", 1.0), OptimizerSettings("sgd", 1.0))
    columns = [ColumnSettings("history", "t", "none", length, keep), ColumnSettings("item", "t", "sum")]
    return EmbeddingTables([table], columns, 1, 8)


def batch(*histories: list[int], weights: list[float] | None = None) -> EncodedBatch:
    rows = len(histories)
    splits = np.cumsum([0, *map(len, histories)]).astype(np.int32)
    ids = np.array([key for history in histories for key in history], np.int64)
    of_ids = None if weights is None else np.array(weights, np.float32)
    return EncodedBatch(
        rows, (ids, np.full(rows, 99)), (splits, None), np.full((rows, 1), 5, np.float32), weights=(of_ids, None)
    )


def look(tables: EmbeddingTables, of: EncodedBatch) -> NDArray[np.float32]:
    tables.prepare(of)
    tables.lookup()
    return tables.buffer[: of.rows]


def row(key: int) -> NDArray[np.float32]:
    tables = build()
    return look(tables, batch([key]))[0, :DIM].copy()


def test_a_block_is_length_rows_and_their_number() -> None:
    tables = build()
    assert dict(tables.widths) == {"history": 3 * DIM + 1, "item": DIM}
    assert dict(tables.offsets) == {"history": 0, "item": 7}
    assert tables.numbers_offset == 9
    tables.buffer[:] = 1  # what an earlier batch left behind
    found = look(tables, batch([4, 5], [], [5, 5, 4]))
    zeros = np.zeros(DIM, np.float32)
    for sample, wanted in enumerate(([row(4), row(5), zeros], [zeros] * 3, [row(5), row(5), row(4)])):
        np.testing.assert_array_equal(found[sample, :6], np.concatenate(wanted))
    np.testing.assert_array_equal(found[:, 6], [2, 0, 3])
    np.testing.assert_array_equal(found[:, 7:9], [row(99)] * 3)
    np.testing.assert_array_equal(found[:, 9], [5, 5, 5])


@pytest.mark.parametrize(("keep", "kept"), [("first", [1, 2, 3]), ("last", [3, 4, 5])])
def test_of_a_longer_list_some_ids_are_in_the_batch_and_the_others_are_not(keep: Keep, kept: list[int]) -> None:
    tables = build(keep=keep)
    found = look(tables, batch([1, 2, 3, 4, 5], [6], weights=[1, 2, 3, 4, 5, 6]))
    np.testing.assert_array_equal(found[0, :6], np.concatenate([np.float32(key) * row(key) for key in kept]))
    np.testing.assert_array_equal(found[1, :2], np.float32(6) * row(6))
    np.testing.assert_array_equal(found[:, 6], [3, 1])
    tables.apply(np.ones((2, tables.stride), np.float32), 1)
    exported = tables.export("t")
    assert sorted(exported.keys.tolist()) == sorted([*kept, 6, 99])
    assert dict(zip(exported.keys.tolist(), exported.frequency.tolist(), strict=True)) == {
        **dict.fromkeys(kept, 1),
        6: 1,
        99: 2,
    }


def test_a_gradient_goes_to_the_id_of_its_position() -> None:
    tables = build()
    look(tables, batch([7, 8, 7], [8], weights=[1, 0.5, 2, 4]))
    gradient = np.arange(2 * tables.stride, dtype=np.float32).reshape(2, tables.stride)
    gradient[1, DIM:7] = np.nan  # no id stands there, and nothing learns from the number of positions
    tables.apply(gradient, 1)
    exported = tables.export("t")
    after = dict(zip(exported.keys.tolist(), exported.values, strict=True))
    np.testing.assert_array_equal(after[7], row(7) - (gradient[0, 0:2] + gradient[0, 4:6] * np.float32(2)))
    wanted = gradient[0, 2:4] * np.float32(0.5) + gradient[1, 0:2] * np.float32(4)
    np.testing.assert_array_equal(after[8], row(8) - wanted)


def test_a_column_with_one_id_each_is_a_sequence_of_one() -> None:
    tables = build()
    one = EncodedBatch(2, (np.array([3, 4]), np.array([99, 99])), (None, None), np.zeros((2, 1), np.float32))
    found = look(tables, one)
    np.testing.assert_array_equal(found[:, :2], [row(3), row(4)])
    assert not np.any(found[:, 2:6])
    np.testing.assert_array_equal(found[:, 6], [1, 1])
    np.testing.assert_array_equal(tables.reader().lookup(one), found)


@pytest.mark.parametrize(
    ("combiner", "length", "keep", "message"),
    [
        ("none", 0, "last", "combiner none with length 0; wanted a length of 1 to 4096"),
        ("none", 5000, "last", "wanted a length of 1 to 4096"),
        ("mean", 3, "last", "length 3 with combiner mean; wanted combiner none, or no length"),
        ("none", 3, "middle", "keep 'middle'; wanted one of first, last"),
        ("max", 0, "last", "combiner 'max'; wanted one of sum, mean, sqrtn, none"),
    ],
)
def test_a_combiner_that_says_too_little_or_too_much_is_refused(
    combiner: str, length: int, keep: str, message: str
) -> None:
    with pytest.raises(ValueError, match=f"column 'c': .*{message}"):
        ColumnSettings("c", "t", combiner, length, keep)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"feature 'f': .*{message}"):
        IdFeature("f", "f", "t", combiner, length=length, keep=keep)  # type: ignore[arg-type]
