"""How many bytes and puts a version costs beyond what it must move; measures no time."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

import numpy as np

from benchmarks.figures import Figure
from checkpointing import paths
from checkpointing.content import Content
from checkpointing.manifest import Position
from checkpointing.pack import pack
from checkpointing.precision import Precision
from checkpointing.writer import Writer
from infra.clock import SystemClock, new_uuid
from infra.object_store import ObjectStore, open_store
from infra.object_store.contract import Data
from infra.spec import Store
from kernels.rows import TableRows

TABLE_ROWS = 10_000_000
CHANGED = 1_000_000


def delta(dim: int, rows: int = CHANGED, of: int = TABLE_ROWS, seed: int = 0, table: str = "item") -> TableRows:
    """``rows`` changed rows of a table of ``of``, whose keys are any int64; Adagrad's slots beside the values."""
    random = np.random.default_rng(seed)
    ranks = random.choice(of, size=rows, replace=False)
    with np.errstate(over="ignore"):
        keys = (ranks.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(np.int64)
    return TableRows(
        table=table,
        keys=keys,
        values=random.standard_normal((rows, dim), dtype=np.float32) * np.float32(0.05),
        slots=np.full((rows, dim), 0.1, np.float32),
        frequency=np.ones(rows, np.uint32),
        last_seen=np.full(rows, 1_700_000_000_000, np.int64),
        tombstones=np.empty(0, np.int64),
    )


def serving_bytes(rows: TableRows, precision: Precision) -> int:
    """Bytes that a replica downloads for these rows."""
    attempt = new_uuid()
    packs = pack(
        Content(tables=[rows], precision={rows.table: precision}),
        attempt=attempt,
        key=lambda name: paths.pack_key(2, 1, attempt, name),
    )
    return sum(packed.file.serving.bytes for packed in packs if packed.file.serving is not None)


class Counting:
    """A store that counts what is written to it."""

    def __init__(self, inner: ObjectStore) -> None:
        self.puts: Counter[str] = Counter()
        self._inner = inner
        self.url, self.get, self.delete = inner.url, inner.get, inner.delete
        self.get_range, self.head, self.list, self.exists = inner.get_range, inner.head, inner.list, inner.exists
        self.entries = inner.entries

    def put(self, key: str, data: Data) -> None:
        self.puts["put"] += 1
        self._inner.put(key, data)

    def create(self, key: str, data: Data) -> None:
        self.puts["put"] += 1
        self._inner.create(key, data)


def puts(rows: int) -> int:
    """Puts of one commit of 26 tables of so many rows each."""
    store = Counting(open_store(Store(url=f"memory://{new_uuid()}")))
    writer = Writer.take_over(store, "bench", "bench", SystemClock())
    store.puts.clear()
    tables = [delta(16, rows, seed=number, table=f"t{number}") for number in range(26)]
    writer.commit(Content(tables=tables, positions=[Position(topic="s", partition=0, next_offset=1)]))
    return store.puts["put"]


def figures() -> list[Figure]:
    """All figures of this file."""
    found = []
    for name, dim, precision, target in (
        ("serving_bytes_vs_payload_float32", 16, "float32", 1.1),
        ("serving_bytes_int8_dim16", 16, "int8", 0.40),
        ("serving_bytes_int8_dim64", 64, "int8", 0.32),
    ):
        payload = CHANGED * (dim * 4 + 8)
        ratio = serving_bytes(delta(dim), precision) / payload  # type: ignore[arg-type]
        found.append(Figure(name, ratio, "x", target, "<=", f"{CHANGED:,} rows: float32 values and 8-byte keys"))
    for name, rows, most in (("puts_small_commit", 100, 2), ("puts_large_commit", 20_000, 3)):
        found.append(Figure(name, puts(rows), "puts", most, "<=", f"26 tables of {rows:,} changed rows"))
    return found
