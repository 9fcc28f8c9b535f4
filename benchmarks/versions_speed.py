"""How fast versions are written and read against the bare work beneath them; every ratio is taken in one run."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.figures import Figure
from benchmarks.versions_bytes import CHANGED, delta
from checkpointing.base import read_base
from checkpointing.compact import compact
from checkpointing.content import Content
from checkpointing.history import ahead
from checkpointing.manifest import Position
from checkpointing.restore import restore
from checkpointing.writer import Writer
from infra.clock import SystemClock
from infra.object_store import ObjectStore, open_store
from infra.spec import Store

DIM = 16
POSITIONS = [Position(topic="s", partition=0, next_offset=1)]


def restore_against_download(store: ObjectStore, rows: int) -> list[Figure]:
    """A restore from a base, every checksum and order checked, against getting the same objects."""
    clock = SystemClock()
    inner = _Prefixed(store, "restore")
    writer = Writer.take_over(inner, "bench", "bench", clock)
    many = max(1, rows // CHANGED)
    for number in range(many):
        part = delta(DIM, rows // many, rows // many, seed=number)
        with np.errstate(over="ignore"):
            part.keys[...] = (
                np.arange(number * (rows // many), (number + 1) * (rows // many), dtype=np.uint64)
                * np.uint64(0x9E3779B97F4A7C15)
            ).astype(np.int64)
        writer.commit(Content(tables=[part], positions=POSITIONS))
    begin = time.perf_counter()
    made = compact(inner, "bench", writer.version, clock)
    compaction = time.perf_counter() - begin
    base = read_base(inner, "bench", writer.version)
    assert made is not None and base is not None
    keys = [file.key for files in base.parts for file in files]
    ratios, downloads, restores = [], [], []
    for _ in range(3):
        gc.collect()
        begin = time.perf_counter()
        for _data in ahead(inner.get, keys):
            pass
        downloads.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        restore(inner, "bench", on_delta=lambda delta: None, clock=clock)
        restores.append(time.perf_counter() - begin)
        ratios.append(restores[-1] / downloads[-1])
    load = f"{rows:,} rows of dim {DIM}, {base.size / 1e9:.2f} GB in {len(base.parts)} parts on SeaweedFS here"
    return [
        Figure("restore_vs_download", statistics.median(ratios), "x", 1.5, "<=", load),
        Figure("restore_seconds", statistics.median(restores), "s", None, "<=", load),
        Figure("compaction_seconds", compaction, "s", None, "<=", f"{many} deltas into one base, {load}"),
    ]


def commit_against_checkpoint(folder: Path, rows: int) -> list[Figure]:
    """A commit of 1 % of a table's rows against a checkpoint of all of it, both on this disk."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    clock = SystemClock()
    writer = Writer.take_over(open_store(Store(url=(folder / "delta").as_uri())), "bench", "bench", clock)
    variables: dict[str, Any] = {
        "values": tf.Variable(tf.zeros([rows, DIM])),
        "slots": tf.Variable(tf.zeros([rows, DIM])),
        "keys": tf.Variable(tf.range(rows, dtype=tf.int64)),
    }
    checkpoint = tf.train.Checkpoint(**variables)
    change = delta(DIM, rows // 100, rows)
    ratios, sizes = [], {}
    for number in range(3):
        begin = time.perf_counter()
        checkpoint.write(str(folder / f"checkpoint-{number}"))
        whole = time.perf_counter() - begin
        begin = time.perf_counter()
        manifest = writer.commit(Content(tables=[change], positions=POSITIONS))
        ratios.append(whole / (time.perf_counter() - begin))
        sizes["checkpoint"] = sum(path.stat().st_size for path in folder.glob(f"checkpoint-{number}*"))
        sizes["delta"] = sum(file.bytes for file in manifest.files)
        for path in folder.glob(f"checkpoint-{number}*"):
            path.unlink()
    load = f"{rows // 100:,} of {rows:,} rows of dim {DIM} with slots, this disk"
    return [
        Figure("commit_vs_tf_checkpoint", statistics.median(ratios), "x", 20.0, ">=", load),
        Figure("commit_bytes", sizes["delta"], "bytes", None, "<=", load),
        Figure("tf_checkpoint_bytes", sizes["checkpoint"], "bytes", None, "<=", load),
    ]


def simulation(schedules: int) -> Figure:
    """Schedules of the whole protocol without a violation: so many now, and those of the long run on record."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from tests.checkpointing.simulation.batch import failures
    from tests.long_run import RECORD

    chunks = [range(begin, min(begin + 50, schedules)) for begin in range(0, schedules, 50)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("forkserver")) as pool:
        failed = sum(len(found) for found in pool.map(failures, chunks))
    blocks = orjson.loads(RECORD.read_bytes()).get("simulated_schedules", {}).values()
    before = sum(block["cases"] for block in blocks)
    commits = ", ".join(sorted({block["commit"] for block in blocks})) or "none"
    load = f"{schedules:,} now, {failed} violate; {before:,} in the last long run (commit {commits})"
    return Figure("simulated_schedules", 0 if failed else schedules + before, "schedules", 100_000, ">=", load)


class _Prefixed:
    """A part of a store, so that two benchmarks share one server."""

    def __init__(self, inner: ObjectStore, folder: str) -> None:
        self._inner = inner
        self._root = f"{folder}/"
        self.url = inner.url

    def __getattr__(self, name: str) -> Any:
        method, root = getattr(self._inner, name), self._root

        def called(key: str, *rest: Any, **named: Any) -> Any:
            if named.get("after"):
                named["after"] = root + named["after"]
            found = method(root + key, *rest, **named)
            if name == "list":
                return [each.removeprefix(root) for each in found]
            return found

        return called
