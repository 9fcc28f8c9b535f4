"""What a replica answers per second of CPU against a stock SavedModel, and what a version costs; `make bench-serving`.

Figures that compare are medians of rounds that alternate in one process; time is CPU time of the whole process.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    set_threads(1)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder:
        home = Path(folder)
        model = trained(home / "store")
        figures += in_process_figures(model, home)
        figures += process_figures(model, home / "store", home / "stock", home)
    figures += row_figures()
    return report("serving", figures)


if __name__ == "__main__":
    sys.exit(main())
