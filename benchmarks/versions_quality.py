"""What int8 rows cost in ranking quality, on MovieLens, by the same model with and without them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import statistics

from benchmarks.figures import Figure
from benchmarks.movielens import Samples, upper_bound
from checkpointing.precision import from_int8, to_int8
from kernels.rows import TableRows


def figures(seeds: int) -> list[Figure]:
    """The upper end of the 95 % interval of the paired difference in AUC."""
    samples = Samples()
    whole, small = [], []
    for seed in range(1, seeds + 1):
        run = samples.train(seed)
        whole.append(samples.auc(run))
        small.append(samples.auc(run, _as_int8))
    differences = [one - other for one, other in zip(whole, small, strict=True)]
    load = f"MovieLens, last fifth, {seeds} seeds; float32 AUC {statistics.mean(whole):.4f}"
    return [
        Figure("int8_auc_cost", upper_bound(differences), "AUC", 0.0005, "<=", load),
        Figure("int8_auc_cost_mean", statistics.mean(differences), "AUC", None, "<=", load),
    ]


def _as_int8(rows: TableRows) -> TableRows:
    return dataclasses.replace(rows, values=from_int8(*to_int8(rows.values)))
