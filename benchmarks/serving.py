"""What a replica answers per second of CPU against a stock SavedModel, and what a version costs; `make bench-serving`.

Figures that compare are medians of rounds that alternate in one process; time is CPU time of the whole process.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.figures import Figure, report
from benchmarks.serving_http import process_figures
from benchmarks.serving_rows import row_figures
from benchmarks.serving_workload import (
    LOAD,
    NAMES,
    USER_FEATURES,
    Trained,
    columns_of,
    replica,
    requests,
    saved_stock,
    trained,
)
from serving.prediction import Question
from serving.tensorflow_runtime import set_threads, tf

ROUNDS = 15
REQUESTS = 60


def in_process_figures(model: Trained, folder: Path) -> Iterator[Figure]:
    """in_process_vs_stock_stacked, in_process_vs_stock_named."""
    predictor, _, _ = replica(model.pipeline)
    stock = saved_stock(folder / "stock")
    stacked, named = stock.signatures["stacked"], stock.signatures["named"]
    asked = requests(REQUESTS)
    shared = frozenset(NAMES[:USER_FEATURES])
    questions = [Question(columns_of(ids), len(ids), shared) for ids in asked]
    by_name = [{name: np.ascontiguousarray(ids[:, at]) for at, name in enumerate(NAMES)} for ids in asked]

    def ours() -> None:
        for question in questions:
            predictor.predict(question)

    def stock_stacked() -> None:
        for ids in asked:
            np.asarray(stacked(ids=tf.constant(ids))["click"])

    def stock_named() -> None:
        for columns in by_name:
            np.asarray(named(**{name: tf.constant(ids) for name, ids in columns.items()})["click"])

    spent = alternate({"ours": ours, "stacked": stock_stacked, "named": stock_named})
    for name, target in (("stacked", 3.0), ("named", 5.0)):
        ratio = statistics.median(a / b for a, b in zip(spent[name], spent["ours"], strict=True))
        least = f"{min(spent['ours']):.0f} against {min(spent[name]):.0f} µs a request"
        against = f"{LOAD}, {USER_FEATURES} features shared; {least}"
        yield Figure(f"in_process_vs_stock_{name}", ratio, "", target, ">=", against)


def alternate(calls: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """CPU microseconds per request of each round."""
    for call in calls.values():
        call()
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin = time.process_time()
            call()
            spent[name].append((time.process_time() - begin) / REQUESTS * 1e6)
    return spent


def measured(figures: Iterator[Figure], wanted: dict[str, tuple[float, Literal["<=", ">="]]]) -> list[Figure]:
    """The figures, and those of ``wanted`` that could not be had, as missed and with the reason."""
    found: list[Figure] = []
    reason = "it was not measured"
    try:
        found.extend(figures)
    except Exception as error:  # noqa: BLE001 - the other figures are worth having all the same
        reason = f"{type(error).__name__}: {error}"
        traceback.print_exc()
    have = {figure.figure for figure in found}
    missed = [name for name in wanted if name not in have]
    return found + [Figure(name, math.nan, "", *wanted[name], f"missed: {reason}") for name in missed]


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    set_threads(1)
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder:
        home = Path(folder)
        model = trained(home / "store")
        figures = measured(
            in_process_figures(model, home),
            {"in_process_vs_stock_stacked": (3.0, ">="), "in_process_vs_stock_named": (5.0, ">=")},
        )
        figures += measured(
            process_figures(model, home / "store", home / "stock", home),
            {
                "http_shared_user_vs_stock": (3.0, ">="),
                "http_json_vs_stock": (3.0, ">="),
                "p99_apply_vs_idle": (1.2, "<="),
                "apply_after_download_ms": (100.0, "<="),
                "private_mib_per_predictor": (100.0, "<="),
            },
        )
    figures += measured(
        row_figures(), {f"overlay_lookup_vs_one_segment_zipf_{exponent}": (0.75, ">=") for exponent in (0.8, 1.2)}
    )
    return report("serving", figures)


if __name__ == "__main__":
    sys.exit(main())
