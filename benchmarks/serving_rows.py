"""How fast a snapshot is read and extended: base and overlay against one segment, a delta of 100,000 rows over 10^7."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure
from checkpointing.hash_order import mix64
from kernels.batch import EncodedBatch
from kernels.rows import TableRows
from kernels.tables import ColumnSettings, EmbeddingTables, TableSettings

KEYS: Final = 10_000_000
DIM: Final = 16
DELTAS: Final = 8
DELTA_ROWS: Final = 100_000
IDS: Final = 2_600
NONE = np.empty(0, np.int64)


def zipf_ranks(random: np.random.Generator, exponent: float, count: int) -> NDArray[np.int64]:
    """``count`` ranks below ``KEYS``, rank r with a probability proportional to (r + 1) ** -exponent."""
    cumulated = np.cumsum(np.arange(1, KEYS + 1, dtype=np.float64) ** -exponent)
    ranks: NDArray[np.int64] = np.searchsorted(cumulated, random.random(count) * cumulated[-1])
    return ranks


def in_hash_order(keys: NDArray[np.int64], value: float) -> TableRows:
    """Rows as a pack has them."""
    keys = keys[np.argsort(mix64(keys))]
    values = np.full((len(keys), DIM), value, np.float32)
    return TableRows("t", keys, values, np.empty((len(keys), 0), np.float32), NONE.astype(np.uint32), NONE, NONE)


def touched(random: np.random.Generator, exponent: float, keys: NDArray[np.int64]) -> TableRows:
    """A delta of ``DELTA_ROWS`` different rows, the popular ones first to be in it."""
    found = np.empty(0, np.int64)
    while len(found) < DELTA_ROWS:
        ranks = np.concatenate([found, zipf_ranks(random, exponent, 4 * DELTA_ROWS)])
        _, first = np.unique(ranks, return_index=True)
        found = ranks[np.sort(first)]
    return in_hash_order(keys[found[:DELTA_ROWS]], 1.0)


def row_figures() -> Iterator[Figure]:
    """overlay_lookup_vs_one_segment for both distributions, apply_rows_ms."""
    random = np.random.default_rng(1)
    tables = EmbeddingTables([TableSettings("t", DIM)], [ColumnSettings("c", "t")], 0, IDS, trainable=False)
    keys = random.permutation(mix64(np.arange(KEYS)).astype(np.int64))
    base = tables.snapshot([in_hash_order(keys, 0.0)])
    reader = tables.reader()
    numbers = np.empty((IDS, 0), np.float32)
    extending: list[float] = []
    for exponent in (0.8, 1.2):
        snapshot = base
        for _ in range(DELTAS):
            delta = touched(random, exponent, keys)
            begin = time.perf_counter()
            snapshot = snapshot.extended([delta])
            extending.append((time.perf_counter() - begin) * 1e3)
        ids = keys[zipf_ranks(random, exponent, IDS * 400)].reshape(400, IDS)
        batches = [EncodedBatch(IDS, (row,), (None,), numbers) for row in ids]
        spent: dict[str, list[float]] = {"one": [], "overlay": []}
        for _ in range(11):
            for name, rows in (("one", base), ("overlay", snapshot)):
                begin = time.perf_counter()
                for batch in batches:
                    reader.lookup(batch, rows)
                spent[name].append((time.perf_counter() - begin) / len(batches) / IDS * 1e9)
        ratios = [a / b for a, b in zip(spent["one"], spent["overlay"], strict=True)]
        against = (
            f"zipf {exponent}, {KEYS:.0e} keys, dim {DIM}, {DELTAS} deltas of {DELTA_ROWS} rows "
            f"({snapshot.changed_counts()['t']} keys in the overlay); "
            f"ns a key {min(spent['overlay']):.0f} against {min(spent['one']):.0f} of one segment"
        )
        name = f"overlay_lookup_vs_one_segment_zipf_{exponent}"
        yield Figure(name, statistics.median(ratios), "", 0.75, ">=", against)
    yield Figure("apply_rows_ms", statistics.median(extending), "ms", None, "<=", f"{DELTA_ROWS} rows over {KEYS:.0e}")
