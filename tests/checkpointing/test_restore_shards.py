"""A model that one set of tables learned is restored onto any number of them, streaming, to the same rows."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpointing.compact import compact
from checkpointing.content import Content, Delta
from checkpointing.hash_order import mix64
from checkpointing.manifest import Position
from checkpointing.restore import restore
from checkpointing.writer import Writer
from infra.object_store import ObjectStore
from kernels.batch import EncodedBatch
from kernels.rows import TableRows
from kernels.tables import ColumnSettings, EmbeddingTables, TableSettings
from tests.checkpointing.stepping_clock import SteppingClock

MODEL, BATCH, COMMITS = "model", 64, 12


def tables(threads: int = 1) -> EmbeddingTables:
    return EmbeddingTables([TableSettings("item", 4)], [ColumnSettings("c", "item")], 0, BATCH, threads)


def share(rows: TableRows, shard: int, of: int) -> TableRows:
    """What belongs to one shard, by its range of hashes, as the parts of a base are cut."""

    def mine(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        places: NDArray[np.uint64] = (mix64(keys) >> np.uint64(32)) * np.uint64(of) >> np.uint64(32)
        inside: NDArray[np.bool_] = places == np.uint64(shard)
        return inside

    return rows.taken(mine(rows.keys), mine(rows.tombstones))


def by_key(parts: list[TableRows]) -> list[NDArray[np.generic]]:
    """All rows of some tables, by key, as they are compared."""
    keys = np.concatenate([rows.keys for rows in parts])
    order = np.argsort(keys)
    columns = ("values", "slots", "frequency", "last_seen")
    return [keys[order], *(np.concatenate([getattr(rows, name) for rows in parts])[order] for name in columns)]


def learned(store: ObjectStore, clock: SteppingClock) -> EmbeddingTables:
    """Trains and commits, with deletions on the way and a base in the middle."""
    random, first = np.random.default_rng(5), tables()
    writer = Writer.take_over(store, MODEL, "learner-0", clock)
    for number in range(COMMITS):
        keys = random.integers(-200, 200, BATCH)
        first.prepare(EncodedBatch(BATCH, (keys,), (None,), np.empty((BATCH, 0), np.float32)))
        first.lookup()
        first.apply(random.standard_normal((BATCH, first.stride), dtype=np.float32), 1_000 + number)
        first.erase("item", keys[:5])
        place = Position(topic="s", partition=0, next_offset=number + 1)
        writer.commit(Content(tables=first.capture(), positions=[place]))
        if number == COMMITS // 2:
            compact(store, MODEL, writer.version, clock, part_bytes=2_000)
    return first


@pytest.mark.parametrize(("shards", "threads"), [(1, 2), (2, 1), (3, 1), (8, 2)])
def test_any_number_of_tables_take_it_over(
    memory: ObjectStore, clock: SteppingClock, shards: int, threads: int
) -> None:
    first = learned(memory, clock)
    onto = [tables(threads) for _ in range(shards)]

    def take(delta: Delta) -> None:
        for rows in delta.tables:
            for shard, table in enumerate(onto):
                table.import_rows(share(rows, shard, shards))

    told: list[int] = []
    state = restore(memory, MODEL, on_delta=take, progress=lambda done, _: told.append(done))
    assert state.tables == {} and len(told) > COMMITS // 2  # streamed: the parts of the base and the deltas
    counts = [table.row_count("item") for table in onto]
    assert sum(counts) == first.row_count("item") and min(counts) > 0
    for whole, parts in zip(by_key([first.export("item")]), by_key([t.export("item") for t in onto]), strict=True):
        assert whole.tobytes() == parts.tobytes()
