"""The engine's figures: calls, step, memory, growth, capture, threads; run by `make bench-kernels`.

A figure that compares is a median of paired rounds that alternate; a figure of the calls alone is a median of rounds in
wall time, with the least one and the CPU time of one thread beside it, since a shared machine is never quiet.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, report
from benchmarks.kernels_ladder import memory_figures, quality_figures
from benchmarks.kernels_step import step_figures
from benchmarks.kernels_workload import COLUMNS, DIM, ROWS, prefilled, sample_batches
from kernels import _core
from kernels.batch import EncodedBatch
from kernels.tables import ColumnSettings, EmbeddingTables, InitializerSettings, OptimizerSettings, TableSettings

THREADS = 2
LOAD = f"{os.cpu_count()} cores, {_core.instruction_set()}"


def timed(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Milliseconds of one call."""
    begin = clock()
    call()
    return (clock() - begin) * 1e3


def resident_bytes() -> int:
    """What this process keeps in memory now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def call_figures() -> Iterator[Figure]:
    """fused_calls_ms and its parts."""
    batches = sample_batches(30)
    against = f"{ROWS} x {COLUMNS} ids, dim {DIM}, Adagrad, zipf 1.2 over 1e6 pre-filled ids per table; {LOAD}"
    for threads in (THREADS, 1):
        clock = time.thread_time if threads == 1 else time.perf_counter
        tables = prefilled(threads)
        gradient = np.full((ROWS, tables.stride), 1e-3, np.float32)
        spent: dict[str, list[float]] = {"prepare": [], "lookup": [], "apply": []}
        for turn in range(150):
            batch = batches[turn % len(batches)]
            spent["prepare"].append(timed(partial(tables.prepare, batch), clock))
            spent["lookup"].append(timed(tables.lookup, clock))
            spent["apply"].append(timed(partial(tables.apply, gradient, 1), clock))
        both = [a + b for a, b in zip(spent["lookup"][30:], spent["apply"][30:], strict=True)]
        if threads > 1:
            yield Figure("fused_calls_ms", statistics.median(both), "ms", 2.0, "<=", f"lookup + apply, wall; {against}")
            yield Figure("fused_calls_least_ms", min(both), "ms", None, "<=", "the least of the same rounds")
            prepare = statistics.median(spent["prepare"][30:])
            yield Figure("prepare_ms", prepare, "ms", None, "<=", "hash and de-duplicate, before lookup; wall")
        else:
            yield Figure("fused_calls_cpu_ms", statistics.median(both), "ms", None, "<=", "one thread, CPU time")


def memory_bound_figures() -> Iterator[Figure]:
    """rows_vs_memory_bound: the engine's work per unique row against a bare loop that updates rows it is told."""
    count, calls = 4_000_000, 16
    random = np.random.default_rng(1)
    table = TableSettings("t", DIM, 1, InitializerSettings("constant", 0.1))
    tables = EmbeddingTables([table], [ColumnSettings("c", "t", "sum")], 0, ROWS)
    keys = random.integers(-(2**63), 2**63 - 1, count)
    fill(tables, keys, ROWS)
    bare = _core.BareRows(count, DIM)
    gradient = np.full((ROWS, tables.stride), 1e-3, np.float32)
    no_numbers = np.empty((ROWS, 0), np.float32)
    ratios = []
    for _ in range(31):
        mine = theirs = 0.0
        for places in random.choice(count, (calls, ROWS), replace=False):
            tables.prepare(EncodedBatch(ROWS, (keys[places],), (None,), no_numbers))
            rows = places.astype(np.uint32)
            mine += timed(tables.lookup, time.thread_time)
            mine += timed(partial(tables.apply, gradient, 1), time.thread_time)
            theirs += timed(partial(bare.update, rows, gradient), time.thread_time)
        ratios.append(theirs / mine)
    yield Figure(
        "rows_vs_memory_bound",
        statistics.median(ratios[1:]),
        "x",
        0.5,
        ">=",
        f"lookup + Adagrad, {ROWS} unique rows of {count} a batch, against a prefetched loop over known rows; CPU",
    )


def fill(tables: EmbeddingTables, keys: NDArray[np.int64], per_call: int) -> None:
    """Trains every key once."""
    gradient = np.full((per_call, tables.stride), 1e-3, np.float32)
    for begin in range(0, len(keys), per_call):
        part = keys[begin : begin + per_call]
        tables.prepare(EncodedBatch(len(part), (part,), (None,), np.empty((len(part), 0), np.float32)))
        tables.lookup()
        tables.apply(gradient[: len(part)], 1)


def in_a_process(run: Callable[[], list[float]]) -> list[float]:
    """Runs in a child, so that its memory is its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.write(write, np.array(run(), np.float64).tobytes())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        answer = np.frombuffer(file.read(), np.float64).tolist()
    os.waitpid(child, 0)
    return list(answer)


def grown(count: int, dim: int, kind: str, per_call: int) -> list[float]:
    """Peak and resident bytes per key, longest and median call in CPU ms, of a table that grows to ``count`` keys."""
    optimizer = OptimizerSettings(kind)  # type: ignore[arg-type]
    table = TableSettings("t", dim, 1, InitializerSettings("constant", 0.1), optimizer)
    tables = EmbeddingTables([table], [ColumnSettings("c", "t", "sum")], 0, per_call)
    gradient = np.full((per_call, tables.stride), 1e-3, np.float32)
    numbers = np.empty((per_call, 0), np.float32)
    # A bijection of 64 bits as the source of keys: nothing but the table grows.
    keys = np.arange(per_call, dtype=np.uint64)
    spent, before, peak = [], 0, 0
    for begin in range(0, count, per_call):
        ids = ((keys + np.uint64(begin)) * np.uint64(0x9E3779B97F4A7C15)).view(np.int64)
        tables.prepare(EncodedBatch(per_call, (ids,), (None,), numbers))
        clock = time.thread_time()
        tables.lookup()
        tables.apply(gradient, 1)
        spent.append((time.thread_time() - clock) * 1e3)
        if begin % (per_call * 4) == 0:
            tables.capture()  # what changed is no part of a row
            if begin == 0:
                before = resident_bytes()
            peak = max(peak, resident_bytes() - before)
    tables.capture()
    peak = max(peak, resident_bytes() - before)
    rows = tables.row_count("t")
    return [peak / rows, (resident_bytes() - before) / rows, max(spent[8:]), statistics.median(spent[8:]), rows]


def growth_figures(large: bool) -> Iterator[Figure]:
    """bytes_per_payload, growth_stall_ms and gib_1e8."""
    peak, _, longest, usual, rows = in_a_process(lambda: grown(10_000_000, DIM, "adagrad", 4096))
    payload = 2 * DIM * 4 + 8
    told = f"{rows:.0f} keys, dim {DIM}, Adagrad, 12 bytes of metadata; resident memory at its peak"
    yield Figure("bytes_per_payload", peak / payload, "x", 1.15, "<=", told)
    told = f"longest minus median call of 4096 new keys, 0 to {rows:.0f}; CPU time of one thread"
    yield Figure("growth_stall_ms", longest - usual, "ms", 3.0, "<=", told)
    count = 100_000_000 if large else 20_000_000
    peak, *_, rows = in_a_process(lambda: grown(count, 4, "rowwise_adagrad", 65_536))
    told = f"dim 4, row-wise Adagrad, metadata; resident memory at its peak, measured with {rows:.2g} keys"
    yield Figure("gib_1e8", peak * 1e8 / 2**30, "GiB", 5.0, "<=", told)


def capture_figures() -> Iterator[Figure]:
    """capture_1m_rows_ms."""
    random = np.random.default_rng(2)
    tables = EmbeddingTables(
        [TableSettings(f"t{i}", DIM, 1, InitializerSettings("constant", 0.1)) for i in range(8)],
        [ColumnSettings(f"c{i}", f"t{i}", "sum") for i in range(8)],
        0,
        4096,
        THREADS,
    )
    gradient = np.full((4096, tables.stride), 1e-3, np.float32)
    numbers = np.empty((4096, 0), np.float32)
    keys = random.permutation(125_000).astype(np.int64)
    spent, count = [], 0
    for _ in range(9):
        random.shuffle(keys)
        for begin in range(0, len(keys), 4096):
            part = keys[begin : begin + 4096]
            tables.prepare(EncodedBatch(len(part), (part,) * 8, (None,) * 8, numbers[: len(part)]))
            tables.lookup()
            tables.apply(gradient[: len(part)], 1)
        begin_at = time.perf_counter()
        captured = tables.capture()
        spent.append((time.perf_counter() - begin_at) * 1e3)
        count = sum(len(block.keys) for block in captured)
        del captured
    told = f"{count} rows of dim {DIM} with Adagrad state in 8 tables, {THREADS} threads; wall, median of {len(spent)}"
    yield Figure("capture_1m_rows_ms", statistics.median(spent), "ms", 30.0, "<=", told)
    yield Figure("capture_1m_rows_least_ms", min(spent), "ms", None, "<=", "the least of the same")


def identity_figures() -> Iterator[Figure]:
    """thread_identity."""
    random = np.random.default_rng(4)
    batches = [
        EncodedBatch(256, tuple(random.zipf(1.2, 256) for _ in range(6)), (None,) * 6, np.empty((256, 0), np.float32))
        for _ in range(50)
    ]
    states = []
    for threads in (1, 2):
        tables = EmbeddingTables(
            [TableSettings(f"t{i}", 8, 1) for i in range(4)],
            [ColumnSettings(f"c{i}", f"t{i % 4}") for i in range(6)],
            0,
            256,
            threads,
        )
        for step in range(1000):
            tables.prepare(batches[step % 50])
            tables.lookup()
            tables.apply(np.sin(tables.buffer[:256] * step + 1), step)
        states.append([tables.export(f"t{i}") for i in range(4)])
    same = all(
        one.keys.tobytes() == other.keys.tobytes()
        and one.values.tobytes() == other.values.tobytes()
        and one.slots.tobytes() == other.slots.tobytes()
        for one, other in zip(*states, strict=True)
    )
    yield Figure("thread_identity", float(same), "bool", 1.0, ">=", "all rows of 1 and 2 threads after 1,000 steps")


@cache
def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(prog="benchmarks.kernels")
    options.add_argument("--quick", action="store_true", help="gib_1e8 with 2e7 keys instead of 1e8")
    options.add_argument("--only", default="", help="parts to run, such as calls,memory,growth,ladder")
    return options


def main(arguments: list[str]) -> int:
    """Runs the benchmark; returns the exit code."""
    options = parser().parse_args(arguments)
    # Growth first: its children are forked from a process that has nothing yet, and TensorFlow comes last.
    parts: dict[str, Callable[[], Iterator[Figure]]] = {
        "growth": lambda: growth_figures(not options.quick),
        "calls": call_figures,
        "memory": memory_bound_figures,
        "capture": capture_figures,
        "identity": identity_figures,
        "ladder": memory_figures,
        "step": step_figures,
        "quality": quality_figures,
    }
    chosen = options.only.split(",") if options.only else list(parts)
    return report("kernels", [figure for part in chosen for figure in parts[part]()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
