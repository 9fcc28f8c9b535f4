"""What a dim ladder saves in memory and costs in AUC, the same ladder for both; the second part needs TensorFlow."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.figures import Figure
from kernels.batch import EncodedBatch
from kernels.tables import ColumnSettings, EmbeddingTables, Rung, TableSettings

# An eighth, then half of the coordinates until a key has occurred so often: most keys of such a stream come once.
STEPS = ((8, 2), (2, 4))
DIM = 16
DRAWS, BATCH = 20_000_000, 8192
SEEDS = 10


def rungs(dim: int) -> tuple[Rung, ...]:
    """The ladder of a table."""
    return tuple(Rung(-(-dim // part), until) for part, until in STEPS)


def told(dim: int) -> str:
    """The same in words."""
    return ", ".join(f"dim {rung.dim} until {rung.until}" for rung in rungs(dim)) + f", then {dim}"


def memory_figures() -> Iterator[Figure]:
    """ladder_memory_saved."""
    fixed, _ = _memory(())
    ladder, rows = _memory(rungs(DIM))
    against = (
        f"1 - bytes of rows, state, metadata and index against dim {DIM} for all; Adagrad; {told(DIM)}; {rows} keys of"
        f" {DRAWS} draws of zipf 1.2"
    )
    yield Figure("ladder_memory_saved", 1 - ladder / fixed, "share", 0.6, ">=", against)


def _memory(ladder: tuple[Rung, ...]) -> tuple[int, int]:
    """Bytes of a table, and its rows, after a zipf stream without end of keys."""
    random = np.random.default_rng(5)
    tables = EmbeddingTables([TableSettings("t", DIM, ladder=ladder)], [ColumnSettings("c", "t", "sum")], 0, BATCH)
    empty = tables.memory_bytes()
    gradient = np.full((BATCH, tables.stride), 1e-3, np.float32)
    numbers = np.empty((BATCH, 0), np.float32)
    for begin in range(0, DRAWS, BATCH):
        tables.prepare(EncodedBatch(BATCH, (random.zipf(1.2, BATCH),), (None,), numbers))
        tables.lookup()
        tables.apply(gradient, 1)
        if begin % (64 * BATCH) == 0:
            tables.capture()  # what changed is no part of a row
    return tables.memory_bytes() - empty, tables.row_count("t")


def quality_figures() -> Iterator[Figure]:
    """ladder_auc_cost."""
    from benchmarks.movielens import Samples, upper_bound

    samples = Samples()
    whole, grown = [], []
    for seed in range(1, SEEDS + 1):
        whole.append(samples.auc(samples.train(seed)))
        grown.append(samples.auc(samples.train(seed, _with_ladder)))
    differences = [one - other for one, other in zip(whole, grown, strict=True)]
    against = f"MovieLens, last fifth, {SEEDS} seeds; AUC {statistics.mean(whole):.4f} without a ladder"
    yield Figure("ladder_auc_cost", upper_bound(differences), "AUC", 0.001, "<=", f"upper 95 % bound; {against}")
    yield Figure("ladder_auc_cost_mean", statistics.mean(differences), "AUC", None, "<=", f"{told(9)}; {against}")


def _with_ladder(table: dict[str, Any]) -> dict[str, Any]:
    return {**table, "ladder": [{"dim": rung.dim, "until": rung.until} for rung in rungs(table["dim"])]}
