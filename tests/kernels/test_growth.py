"""Tables through many splits, growths and erasures against a dict; memory and determinism on the way."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.rows import TableRows
from kernels.tables import ColumnSettings, EmbeddingTables, InitializerSettings, TableSettings
from tests.kernels.sampling import EXTREME_KEYS


def one_table(max_batch: int, dim: int = 1, trainable: bool = True) -> EmbeddingTables:
    table = TableSettings("t", dim, 1, InitializerSettings("constant", -1.0))
    return EmbeddingTables([table], [ColumnSettings("c", "t", "sum")], 0, max_batch, trainable=trainable)


def single(ids: NDArray[np.int64]) -> EncodedBatch:
    return EncodedBatch(len(ids), (ids,), (None,), np.empty((len(ids), 0), np.float32))


def rows_with(keys: NDArray[np.int64], values: NDArray[np.float32], tombstones: NDArray[np.int64]) -> TableRows:
    n = len(keys)
    return TableRows(
        "t",
        keys,
        values.reshape(n, 1),
        np.zeros((n, 1), np.float32),
        np.zeros(n, np.uint32),
        np.zeros(n, np.int64),
        tombstones,
    )


NONE = np.empty(0, np.int64)


@pytest.mark.parametrize("pattern", ["random", "counting", "strided", "high bits"])
def test_hundred_thousands_of_keys_come_and_go(pattern: str) -> None:
    random = np.random.default_rng(7)
    count = 150_000
    if pattern == "random":
        keys = np.unique(random.integers(-(2**63), 2**63 - 1, count))
    elif pattern == "counting":
        keys = np.arange(-count // 2, count // 2)
    elif pattern == "strided":
        keys = np.arange(count) * 4096
    else:
        keys = (np.arange(count) << 45) + np.int64(-(2**63))
    keys = np.unique(np.concatenate([keys, np.array(EXTREME_KEYS)]))
    random.shuffle(keys)
    tables = one_table(4096)
    model: dict[int, float] = {}
    for begin in range(0, len(keys), 30_000):
        part = keys[begin : begin + 30_000]
        values = random.standard_normal(len(part)).astype(np.float32)
        tables.import_rows(rows_with(part, values, NONE))
        model.update(zip(part.tolist(), values.tolist(), strict=True))
        gone = random.choice(keys[: begin + len(part)], len(part) // 3)
        tables.erase("t", gone)
        for key in gone.tolist():
            model.pop(key, None)
    assert tables.row_count("t") == len(model)
    rows = tables.export("t")
    assert dict(zip(rows.keys.tolist(), rows.values[:, 0].tolist(), strict=True)) == model
    reader = tables.reader()
    for begin in range(0, len(keys), 4096):
        part = keys[begin : begin + 4096]
        wanted = [model.get(key, -1.0) for key in part.tolist()]
        assert reader.lookup(single(part))[:, 0].tolist() == wanted
        assert reader.absent == sum(key not in model for key in part.tolist())


def test_erasing_everything_and_coming_back_needs_no_more_memory() -> None:
    tables = one_table(4096, trainable=False)
    keys = np.arange(50_000)
    values = np.arange(50_000, dtype=np.float32)
    tables.import_rows(rows_with(keys, values, NONE))
    high = tables.memory_bytes()
    for turn in range(1, 6):
        tables.import_rows(rows_with(NONE, np.empty(0, np.float32), keys))
        assert tables.row_count("t") == 0
        assert not len(tables.export("t").keys)
        keys = keys + turn * 1_000_003
        tables.import_rows(rows_with(keys, values, NONE))
    assert tables.row_count("t") == 50_000
    assert tables.memory_bytes() < high * 1.3


def test_memory_per_key_stays_near_its_payload() -> None:
    """Dim 16 with Adagrad: 128 bytes of floats and 8 of key per row; 12 of metadata and the index come on top."""
    table = TableSettings("t", 16)
    tables = EmbeddingTables([table], [ColumnSettings("c", "t")], 0, 1)
    before = tables.memory_bytes()
    random = np.random.default_rng(0)
    n = 300_000
    keys = np.unique(random.integers(-(2**63), 2**63 - 1, n))
    n = len(keys)
    zeros = np.zeros((n, 16), np.float32)
    tables.import_rows(TableRows("t", keys, zeros, zeros, np.zeros(n, np.uint32), np.zeros(n, np.int64), NONE))
    assert (tables.memory_bytes() - before) / n < 136 * 1.16


def test_keys_that_share_everything_but_one_bit() -> None:
    keys = np.array([1 << bit for bit in range(63)] + [-(2**63), 0], np.int64)
    tables = one_table(len(keys))
    tables.import_rows(rows_with(keys, np.arange(len(keys), dtype=np.float32), NONE))
    assert tables.reader().lookup(single(keys))[:, 0].tolist() == list(range(len(keys)))


def keys_of_hashes(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The inverse of ``hash_key`` in kernels/src/hash.hpp: multiplications by the inverses modulo 2**64."""

    def unshift(x: NDArray[np.uint64], by: int) -> NDArray[np.uint64]:
        y = x.copy()
        for _ in range(64 // by):
            y = x ^ (y >> np.uint64(by))
        return y

    x = unshift(hashes, 31)
    x = unshift(x * np.uint64(pow(0x94D049BB133111EB, -1, 2**64)), 27)
    x = unshift(x * np.uint64(pow(0xBF58476D1CE4E5B9, -1, 2**64)), 30)
    return (x - np.uint64(0x9E3779B97F4A7C15)).view(np.int64)


@pytest.mark.parametrize("low_bits", ["spread", "few"])
def test_keys_made_to_share_leading_hash_bits_need_no_more_memory_than_others(low_bits: str) -> None:
    random = np.random.default_rng(1)
    n = 40_000
    if low_bits == "spread":
        low = np.unique(random.integers(0, 2**40, n, np.uint64))
    else:  # the same home in every shard and one of 256 tags
        low = np.arange(2_000, dtype=np.uint64)
    keys = keys_of_hashes(low | np.uint64(0xABCDEF << 40))
    values = np.arange(len(keys), dtype=np.float32)
    tables = one_table(len(keys))
    for begin in range(0, len(keys), 1_000):
        part = slice(begin, begin + 1_000)
        tables.import_rows(rows_with(keys[part], values[part], NONE))
    assert tables.memory_bytes() < 64 << 20
    assert np.array_equal(tables.reader().lookup(single(keys))[:, 0], values)
    tables.erase("t", keys[::2])
    assert tables.row_count("t") == len(keys) // 2
    wanted = np.where(np.arange(len(keys)) % 2 == 0, np.float32(-1), values)
    assert np.array_equal(tables.reader().lookup(single(keys))[:, 0], wanted)


def test_the_last_of_equal_keys_wins_in_an_import() -> None:
    tables = one_table(4)
    keys = np.array([5, 6, 5, 5], np.int64)
    tables.import_rows(rows_with(keys, np.array([1, 2, 3, 4], np.float32), NONE))
    assert tables.row_count("t") == 2
    assert tables.reader().lookup(single(np.array([5, 6])))[:, 0].tolist() == [4, 2]


def test_an_import_deletes_before_it_writes() -> None:
    tables = one_table(4)
    keys = np.arange(3)
    tables.import_rows(rows_with(keys, np.array([1, 2, 3], np.float32), NONE))
    tables.import_rows(rows_with(np.array([1]), np.array([9], np.float32), np.array([0, 1, 77])))
    assert tables.reader().lookup(single(keys))[:, 0].tolist() == [-1, 9, 3]
    assert tables.row_count("t") == 2


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(threads: int) -> None:
    def train(count: int) -> list[TableRows]:
        settings = [TableSettings(f"t{i}", 4 + 4 * i, 1) for i in range(3)]
        columns = [ColumnSettings(f"c{i}", f"t{i % 3}", ("mean", "sum")[i % 2]) for i in range(12)]
        tables = EmbeddingTables(settings, columns, 2, 256, threads=count)
        random = np.random.default_rng(3)
        for _ in range(40):
            ids = tuple(random.zipf(1.3, 256) % 5000 for _ in columns)
            splits = tuple(
                None if i % 4 else np.sort(np.append(random.integers(0, 257, 255), [0, 256])).astype(np.int32)
                for i in range(12)
            )
            tables.prepare(EncodedBatch(256, ids, splits, np.ones((256, 2), np.float32)))
            tables.lookup()
            tables.apply(np.sin(tables.buffer * 50) + 0.1, 5)
        return tables.capture()

    for one, many in zip(train(1), train(threads), strict=True):
        for part in ("keys", "values", "slots", "frequency", "last_seen", "tombstones"):
            assert getattr(one, part).tobytes() == getattr(many, part).tobytes(), part
