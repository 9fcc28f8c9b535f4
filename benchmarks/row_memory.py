"""What a row costs in memory, in a learner's table and in a replica's snapshot; run by `make bench-row-memory`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]

from benchmarks.figures import Figure, report
from kernels.rows import TableRows
from kernels.tables import ColumnSettings, EmbeddingTables, TableSettings

ROWS, DIM = 2_000_000, 16
METADATA_BYTES = 12


def make(*, trainable: bool) -> EmbeddingTables:
    """One empty table."""
    settings = [TableSettings(name="t", dim=DIM)]
    return EmbeddingTables(settings, [ColumnSettings("t", "t")], 0, max_batch=64, trainable=trainable)


def rows(slot_width: int) -> TableRows:
    """As many rows as are measured, of shuffled keys."""
    generator = np.random.default_rng(1)
    return TableRows(
        table="t",
        keys=generator.integers(-(2**63), 2**63 - 1, ROWS, np.int64),
        values=np.zeros((ROWS, DIM), np.float32),
        slots=np.zeros((ROWS, slot_width), np.float32),
        frequency=np.zeros(ROWS, np.uint32),
        last_seen=np.zeros(ROWS, np.int64),
        tombstones=np.zeros(0, np.int64),
    )


def grown(work: Callable[[], Any]) -> float:
    """Bytes of this process that stay after ``work``, while its result is held."""
    gc.collect()
    before = psutil.Process().memory_full_info().pss
    held = work()
    gc.collect()
    after = psutil.Process().memory_full_info().pss
    del held
    return float(after - before)


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    learner, replica = make(trainable=True), make(trainable=False)
    slots = learner.slot_width("t")
    trained, served = rows(slots), rows(0)
    payload = (DIM + slots) * 4 + METADATA_BYTES
    table = grown(lambda: learner.import_rows(trained)) / ROWS
    snapshot = grown(lambda: replica.snapshot([served])) / ROWS
    about = f"{ROWS:,} rows of dim {DIM}; proportional set size"
    return report(
        "row-memory",
        [
            Figure("learner_row_factor", table / payload, "x", None, "<=", f"over {payload} bytes, Adagrad; {about}"),
            Figure("replica_row_factor", snapshot / (DIM * 4), "x", None, "<=", f"over {DIM * 4} bytes; {about}"),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
