"""Milliseconds of the tables' calls per 4096 x 26 ids, dim 16, zipf 1.2; knows only kernels/."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from kernels.batch import EncodedBatch
from kernels.tables import ColumnSettings, EmbeddingTables, TableSettings

ROWS, COLUMNS, DIM, NUMBERS = 4096, 26, 16, 13
KEYS = 1_000_000
BATCHES, ROUNDS = 30, 90


def sample_batches() -> list[EncodedBatch]:
    """Batches of random int64 keys whose ranks follow a zipf law of exponent 1.2 over ``KEYS`` per table."""
    random = np.random.default_rng(0)
    weights = np.cumsum(np.arange(1, KEYS + 1) ** -1.2)
    keys = [random.integers(-(2**63), 2**63 - 1, KEYS) for _ in range(COLUMNS)]
    numbers = random.standard_normal((ROWS, NUMBERS)).astype(np.float32)

    def ids() -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], ...]:
        return tuple(of[np.searchsorted(weights, random.random(ROWS) * weights[-1])] for of in keys)

    return [EncodedBatch(ROWS, ids(), (None,) * COLUMNS, numbers) for _ in range(BATCHES)]


def time_calls(threads: int, batches: list[EncodedBatch]) -> None:
    """Prints the minimum and median of each call: CPU time for one thread, wall time for several."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    tables = EmbeddingTables(
        [TableSettings(f"t{i}", DIM) for i in range(COLUMNS)],
        [ColumnSettings(f"c{i}", f"t{i}") for i in range(COLUMNS)],
        NUMBERS,
        ROWS,
        threads,
    )
    gradient = np.full((ROWS, tables.stride), 1e-3, np.float32)
    times: dict[str, list[float]] = {"prepare": [], "lookup": [], "apply": [], "capture": []}

    def timed(name: str, call: Callable[[], object]) -> None:
        begin = clock()
        call()
        times[name].append((clock() - begin) * 1e3)

    for turn in range(BATCHES + ROUNDS):
        timed("prepare", partial(tables.prepare, batches[turn % BATCHES]))
        timed("lookup", tables.lookup)
        timed("apply", partial(tables.apply, gradient, 1))
        if turn == BATCHES - 1:
            for spent in times.values():
                spent.clear()
    timed("capture", tables.capture)
    rows = sum(tables.row_count(table.name) for table in tables.tables)
    print(f"threads {threads}, {rows} rows in {tables.memory_bytes() / 2**20:.0f} MiB")
    for name, spent in times.items():
        print(f"  {name:8} min {min(spent):7.2f} ms   median {np.median(spent):7.2f} ms")


def main() -> None:
    """Times one and two threads on the same batches."""
    batches = sample_batches()
    for threads in (1, 2):
        time_calls(threads, batches)


if __name__ == "__main__":
    main()
