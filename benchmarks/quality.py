"""How well the running loop ranks what it has not learned yet, on MovieLens; run by `make bench-quality`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path

from rich.console import Console

from benchmarks.figures import Figure, report
from checkpointing.quality import Quality
from infra.clock import SystemClock
from infra.kafka import Producer
from infra.local.stack import LocalStack
from infra.object_store import open_store
from springtide.datasets.movielens import MovieLens
from springtide.datasets.pace import steady
from springtide.datasets.replay import Replay
from springtide.demo import SETTLE_SECONDS, last_half
from springtide.local_pipeline import Ports, local_pipeline
from springtide.loop import Loop
from springtide.reckoning import Reckoner
from springtide.watch import Watch

MINUTES = 4.0
LARGEST_BATCH = 64
DATA = Path(".springtide/data")


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    clock, stop = SystemClock(), threading.Event()
    dataset = MovieLens.load(DATA)
    events = list(dataset.events())
    per_second = len(events) / (MINUTES * 60)
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder:
        home = Path(folder)
        with LocalStack(home / "stack") as stack:
            pipeline = local_pipeline(
                dataset.document(),
                name="quality",
                stack=stack,
                home=home,
                ports=Ports.free(),
                # Both labels of a moment arrive together; else the order of arrival gives the label away.
                join={"labels": "aligned"},
                learner={"max_batch": LARGEST_BATCH},
            )
            loop = Loop(pipeline, home, home / "logs")
            loop.create_topics()
            loop.start()
            store = open_store(pipeline.store)
            try:
                with Watch(pipeline, store, clock) as watch, Producer(pipeline.kafka) as producer:
                    replay = Replay(pipeline.events, pipeline.join.window.ms, producer, clock)
                    sent = replay.run(steady(events, per_second), speed=1.0, stop=stop)
                    with Reckoner(pipeline, store) as reckoner:
                        counted = reckoner.settle(
                            impressions=sent.impressions,
                            clicks=sent.clicks,
                            clock=clock,
                            seconds=SETTLE_SECONDS,
                            alive=lambda: True,
                        )
                    half, behind = last_half(watch.quality_by_time()), watch.behind_quantiles()
            finally:
                loop.stop()
    console = Console()
    console.print(
        f"behind p50 {behind[0]:.1f} s, p99 {behind[1]:.1f} s; lost {counted.lost}, doubled {counted.doubled}"
    )
    if not counted.right:
        console.print("FAILED: samples were lost or doubled, so that the figures mean nothing")
        return 1
    return report("quality", figures(half, per_second))


def figures(half: Quality, per_second: float) -> list[Figure]:
    """The benchmark's figures over the last half of the impressions' time."""
    load = f"{half.samples} samples, {per_second:.0f} impressions/s, batch <= {LARGEST_BATCH}, {os.cpu_count()} cores"
    assert half.auc is not None and half.calibration is not None
    return [
        Figure("movielens_auc_last_half", half.auc, "1", 0.74, ">=", f"progressive, aligned labels; {load}"),
        Figure("movielens_calibration_least", half.calibration, "1", 0.95, ">=", load),
        Figure("movielens_calibration_most", half.calibration, "1", 1.05, "<=", load),
    ]


if __name__ == "__main__":
    sys.exit(main())
