"""The batches and tables that the engine's figures are measured on; knows only kernels/."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kernels.batch import EncodedBatch
from kernels.rows import TableRows
from kernels.tables import ColumnSettings, EmbeddingTables, TableSettings

ROWS, COLUMNS, DIM, NUMBERS = 4096, 26, 16, 13
KEYS = 1_000_000


@lru_cache(maxsize=1)
def keys_of_tables() -> list[NDArray[np.int64]]:
    """Per table the keys by rank."""
    random = np.random.default_rng(0)
    return [random.integers(-(2**63), 2**63 - 1, KEYS) for _ in range(COLUMNS)]


@lru_cache(maxsize=1)
def rank_batches(count: int) -> list[NDArray[np.int64]]:
    """Ranks int64 [COLUMNS, ROWS] per batch: zipf of exponent 1.2 over ``KEYS``."""
    random = np.random.default_rng(1)
    weights = np.cumsum(np.arange(1, KEYS + 1) ** -1.2)
    return [np.searchsorted(weights, random.random((COLUMNS, ROWS)) * weights[-1]) for _ in range(count)]


def sample_batches(count: int) -> list[EncodedBatch]:
    """Batches of random int64 keys, numbers beside them."""
    numbers = np.random.default_rng(2).standard_normal((ROWS, NUMBERS)).astype(np.float32)
    return [
        EncodedBatch(
            ROWS, tuple(keys[of] for keys, of in zip(keys_of_tables(), ranks, strict=True)), (None,) * COLUMNS, numbers
        )
        for ranks in rank_batches(count)
    ]


def prefilled(threads: int) -> EmbeddingTables:
    """One table per column with all of its keys, Adagrad."""
    tables = EmbeddingTables(
        [TableSettings(f"t{i}", DIM) for i in range(COLUMNS)],
        [ColumnSettings(f"c{i}", f"t{i}") for i in range(COLUMNS)],
        NUMBERS,
        ROWS,
        threads,
    )
    random = np.random.default_rng(3)
    values = (random.standard_normal((KEYS, DIM)) * 0.01).astype(np.float32)
    slots = np.full((KEYS, DIM), 0.1, np.float32)
    frequency, last_seen, none = np.ones(KEYS, np.uint32), np.ones(KEYS, np.int64), np.empty(0, np.int64)
    for i, keys in enumerate(keys_of_tables()):
        order = random.permutation(KEYS)
        tables.import_rows(TableRows(f"t{i}", keys[order], values, slots, frequency, last_seen, none))
    return tables
