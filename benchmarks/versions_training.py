"""How much training slows down while versions are committed beside it, on the same two cores; trains no model.

The server stands on this machine in place of one that has processors of its own, and takes more of them than the
commit does. So the figure is taken with the server at a lower priority, where it gets what training leaves, and beside
it with the server at the same one. The commit's own thread has training's priority in both.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import statistics
import threading
import time
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.figures import Figure
from benchmarks.versions_bytes import CHANGED, delta
from checkpointing.content import Content
from checkpointing.manifest import Position
from checkpointing.writer import Writer
from infra.clock import SystemClock
from infra.object_store import ObjectStore
from kernels.batch import EncodedBatch
from kernels.tables import ColumnSettings, EmbeddingTables, TableSettings

DIM, BATCH, COLUMNS = 16, 4096, 8
BATCHES: Final = 200
ROUNDS: Final = 5
WINDOW_S: Final = 3.0
BEHIND: Final = 5  # niceness


class Training:
    """Steps of one thread over a table of a million rows: the tables' own three calls, without TensorFlow."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        columns = [ColumnSettings(f"c{number}", "item") for number in range(COLUMNS)]
        self._tables = EmbeddingTables([TableSettings("item", DIM)], columns, 0, BATCH, 1)
        self._batches = [
            EncodedBatch(
                BATCH,
                tuple(random.integers(0, CHANGED, BATCH) for _ in range(COLUMNS)),
                (None,) * COLUMNS,
                np.empty((BATCH, 0), np.float32),
            )
            for _ in range(BATCHES)
        ]
        self._gradient = np.full((BATCH, self._tables.stride), 1e-3, np.float32)
        for number in range(2 * BATCHES):
            self._step(number)

    def rate(self, busy: threading.Event | None) -> float:
        """Steps a second while ``busy`` is set, or for a while where there is none."""
        begin, steps = time.perf_counter(), 0
        while steps == 0 or (busy.is_set() if busy is not None else time.perf_counter() - begin < WINDOW_S):
            self._step(steps)
            steps += 1
        return steps / (time.perf_counter() - begin)

    def _step(self, number: int) -> None:
        self._tables.prepare(self._batches[number % BATCHES])
        self._tables.lookup()
        self._tables.apply(self._gradient, 1)


def training_during_commits(store: ObjectStore, server: int) -> list[Figure]:
    """Steps a second while a commit of a million rows runs, against those in between.

    Args:
        store: Where the versions go.
        server: The server's process.
    """
    training = Training()
    writer = Writer.take_over(store, "bench", "bench", SystemClock())
    content = Content(tables=[delta(DIM)], positions=[Position(topic="s", partition=0, next_offset=1)])
    runs: dict[int, list[tuple[float, float]]] = {BEHIND: [], 0: []}
    for _ in range(ROUNDS):
        for niceness, found in runs.items():
            _renice(server, niceness)
            alone = training.rate(None)
            beside, spent = _beside(training, writer, content)
            found.append((beside / alone, spent))
    _renice(server, 0)
    (behind, behind_s), (equal, equal_s) = (map(statistics.median, zip(*found, strict=True)) for found in runs.values())
    load = f"{CHANGED:,} rows of dim {DIM} a commit to SeaweedFS here, {os.cpu_count()} cores, one training thread"
    lower, same = f"{load}; the server at niceness {BEHIND}", f"{load}; the server at training's priority"
    return [
        Figure("training_speed_during_commit", behind, "x", 0.80, ">=", lower),
        Figure("commit_seconds_1m_rows", behind_s, "s", 3.0, "<=", lower),
        Figure("training_speed_server_at_same_priority", equal, "x", None, ">=", same),
        Figure("commit_seconds_server_at_same_priority", equal_s, "s", None, "<=", same),
    ]


def _beside(training: Training, writer: Writer, content: Content) -> tuple[float, float]:
    """Steps a second while ``content`` is committed, and how long that took."""
    busy, spent = threading.Event(), [0.0]
    busy.set()

    def commit() -> None:
        begin = time.perf_counter()
        try:
            writer.commit(content)
        finally:
            spent[0] = time.perf_counter() - begin
            busy.clear()

    thread = threading.Thread(target=commit)
    thread.start()
    beside = training.rate(busy)
    thread.join()
    return beside, spent[0]


def _renice(process: int, niceness: int) -> None:
    """For all threads of a process, and for its session, which Linux may schedule as one."""
    for task in Path(f"/proc/{process}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(task.name), niceness)
    group = Path(f"/proc/{process}/autogroup")
    if group.exists():
        group.write_text(str(niceness), encoding="ascii")
