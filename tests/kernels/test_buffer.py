"""The buffer's layout and alignment: a misaligned one aborts TensorFlow."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from kernels.batch import EncodedBatch
from kernels.tables import ColumnSettings, EmbeddingTables, TableSettings


def build(dims: list[int], numbers: int, max_batch: int = 5, **more: bool) -> EmbeddingTables:
    tables = [TableSettings(f"t{i}", dim) for i, dim in enumerate(dims)]
    columns = [ColumnSettings(f"c{i}", f"t{i}") for i in range(len(dims))]
    return EmbeddingTables(tables, columns, numbers, max_batch, **more)


def batch_of(rows: int, columns: int, numbers: int) -> EncodedBatch:
    ids = tuple(np.arange(rows, dtype=np.int64) for _ in range(columns))
    return EncodedBatch(rows, ids, (None,) * columns, np.full((rows, numbers), 7, np.float32))


@pytest.mark.parametrize("dims", [[], [1], [16], [3, 5], [16] * 26, [17, 1, 64]])
@pytest.mark.parametrize("numbers", [0, 1, 13])
def test_address_and_stride_are_multiples_of_64_bytes(dims: list[int], numbers: int) -> None:
    tables = build(dims, numbers)
    assert tables.width == sum(dims) + numbers
    assert tables.stride * 4 % 64 == 0
    assert 0 <= tables.stride - tables.width < 16 or tables.width == 0
    assert tables.buffer.shape == (5, tables.stride)
    for buffer in (tables.buffer, tables.reader().lookup(batch_of(5, len(dims), numbers))):
        assert buffer.dtype == np.float32
        assert buffer.flags.c_contiguous
        for row in buffer:
            assert row.ctypes.data % 64 == 0


def test_blocks_stand_in_feature_order_then_numbers_then_zeros() -> None:
    tables = build([3, 5], 2)
    assert dict(tables.offsets) == {"c0": 0, "c1": 3}
    assert (tables.numbers_offset, tables.width, tables.stride) == (8, 10, 16)
    tables.prepare(batch_of(4, 2, 2))
    assert tables.lookup() == 4
    assert np.all(tables.buffer[:4, :8] != 0)
    assert np.all(tables.buffer[:4, 8:10] == 7)
    assert np.all(tables.buffer[:, 10:] == 0)
    assert np.all(tables.buffer[4] == 0)


def test_dlpack_shares_the_memory() -> None:
    tables = build([4], 0)
    shared = np.from_dlpack(tables.buffer[:2])
    tables.prepare(batch_of(2, 1, 0))
    tables.lookup()
    assert shared.ctypes.data == tables.buffer.ctypes.data
    np.testing.assert_array_equal(shared, tables.buffer[:2])
    assert np.any(shared != 0)


def test_a_buffer_outlives_its_tables() -> None:
    buffer = build([4], 0).buffer
    reader_view = build([4], 0).reader().lookup(batch_of(2, 1, 0))
    assert float(buffer.sum()) == 0
    assert np.all(reader_view[:, :4] != 0)


def test_misuse_is_told_with_names_and_sizes() -> None:
    tables = build([4], 1)
    with pytest.raises(ValueError, match=r"wants a prepare\(\)"):
        tables.lookup()
    with pytest.raises(ValueError, match=r"wants a lookup\(\)"):
        tables.apply(np.zeros((1, tables.stride), np.float32), 0)
    with pytest.raises(ValueError, match="6 rows; wanted at most max_batch = 5"):
        tables.prepare(batch_of(6, 1, 1))
    with pytest.raises(ValueError, match="2 id columns; wanted 1"):
        tables.prepare(batch_of(2, 2, 1))
    with pytest.raises(ValueError, match=r"numbers has shape \[2, 0\]; wanted \[2, 1\]"):
        tables.prepare(batch_of(2, 1, 0))
    good = batch_of(2, 1, 1)
    with pytest.raises(ValueError, match="column 'c0': 2 ids without splits; wanted one per row, 3"):
        tables.prepare(EncodedBatch(3, good.ids, good.splits, np.zeros((3, 1), np.float32)))
    for splits in ([0, 2, 1], [1, 1, 2], [0, 1, 3], [0, -1, 2]):
        with pytest.raises(ValueError, match="column 'c0': splits must rise"):
            tables.prepare(EncodedBatch(2, good.ids, (np.array(splits, np.int32),), good.numbers))
    with pytest.raises(ValueError, match="numbers must be finite"):
        tables.prepare(EncodedBatch(2, good.ids, good.splits, np.full((2, 1), np.nan, np.float32)))
    tables.prepare(good)
    tables.lookup()
    with pytest.raises(ValueError, match=r"shape \[1, 16\]; wanted \[2, 16\]"):
        tables.apply(np.zeros((1, 16), np.float32), 0)
    tables.apply(np.zeros((2, 16), np.float32), 0)
    with pytest.raises(ValueError, match="once per batch"):
        tables.apply(np.zeros((2, 16), np.float32), 0)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="table names must be unique; twice: t"):
        EmbeddingTables([TableSettings("t", 1), TableSettings("t", 2)], [], 0, 1)
    with pytest.raises(KeyError, match="unknown table 'u'; there are: t"):
        EmbeddingTables([TableSettings("t", 1)], [ColumnSettings("c", "u")], 0, 1)
    with pytest.raises(ValueError, match="max_batch is 0; wanted at least 1"):
        EmbeddingTables([TableSettings("t", 1)], [], 0, 0)
    with pytest.raises(ValueError, match="table 't': dim 0"):
        TableSettings("t", 0)
    with pytest.raises(ValueError, match="not trainable have no buffer"):
        _ = build([4], 0, trainable=False).buffer


def test_prepare_may_run_ahead_of_apply() -> None:
    """Look-ahead is pure: preparing batch t + 1 before the gradient of batch t gives the same rows."""

    def train(ahead: bool) -> bytes:
        tables = build([4], 0)
        batches = [
            EncodedBatch(3, (np.array(keys, np.int64),), (None,), np.empty((3, 0), np.float32))
            for keys in ([1, 2, 1], [2, 3, 3], [1, 4, 2])
        ]
        tables.prepare(batches[0])
        for position in range(3):
            tables.lookup()
            if ahead and position < 2:
                tables.prepare(batches[position + 1])
            tables.apply(tables.buffer[:3] * 3 + 1, 0)
            if not ahead and position < 2:
                tables.prepare(batches[position + 1])
        return tables.export("t0").values.tobytes()

    assert train(True) == train(False)
