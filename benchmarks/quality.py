"""How well the running loop ranks what it has not learned yet; run by `make bench-quality`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.figures import Figure, report
from checkpointing.quality import Quality
from infra.clock import SystemClock
from infra.kafka import Producer
from infra.local.stack import LocalStack
from infra.object_store import open_store
from springtide.datasets.event import Dataset
from springtide.datasets.mind import Mind
from springtide.datasets.movielens import MAX_BATCH, MovieLens
from springtide.datasets.pace import steady
from springtide.datasets.replay import Replay
from springtide.demo import SETTLE_SECONDS
from springtide.local_pipeline import Ports, local_pipeline
from springtide.loop import Loop
from springtide.reckoning import Reckoner
from springtide.watch import Watch

DATA = Path(".springtide/data")


@dataclass(frozen=True)
class Outcome:
    """What a replay through the whole loop came to.

    Args:
        by_time: Quality of predictions made before learning, by the impressions' time.
        behind: p50 and p99 of how far the replicas were behind, seconds.
        per_second: Impressions a second.
    """

    by_time: dict[int, Quality]
    behind: tuple[float, float]
    per_second: float

    def last(self, share: float) -> Quality:
        """The quality of the last ``share`` of the impressions' time."""
        total = Quality()
        begin = max(self.by_time) - (max(self.by_time) - min(self.by_time)) * share
        for start, quality in self.by_time.items():
            if start >= begin:
                total.add(quality)
        return total


def run_loop(dataset: Dataset, minutes: float) -> Outcome:
    """Replays a log at a steady pace through Kafka, join, learner, store and replicas.

    Raises:
        RuntimeError: Samples were lost or doubled, so that no figure means anything.
    """
    clock, stop = SystemClock(), threading.Event()
    events = list(dataset.events())
    per_second = len(events) / (minutes * 60)
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
                    outcome = Outcome(watch.quality_by_time(), watch.behind_quantiles(), per_second)
            finally:
                loop.stop()
    if not counted.right:
        raise RuntimeError(f"samples were lost or doubled, so that the figures mean nothing: {counted}")
    return outcome


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0, help="how long a replay takes")
    parser.add_argument("--mind", type=Path, default=None, help="folder with MIND's behaviors.tsv, replayed instead")
    options = parser.parse_args()
    dataset: Dataset = MovieLens.load(DATA) if options.mind is None else Mind.load(options.mind)
    outcome = run_loop(dataset, options.minutes)
    Console().print("behind p50 {:.1f} s, p99 {:.1f} s".format(*outcome.behind))
    load = f"progressive, {outcome.per_second:.0f} impressions/s, batch <= {MAX_BATCH}, {os.cpu_count()} cores"
    if options.mind is not None:
        fifth = outcome.last(0.2)
        assert fifth.auc is not None
        return report("quality-mind", [Figure("mind_auc_last_fifth", fifth.auc, "1", None, ">=", load)])
    return report("quality", figures(outcome.last(0.5), load))


def figures(half: Quality, load: str) -> list[Figure]:
    """The benchmark's figures over the last half of the impressions' time."""
    assert half.auc is not None and half.calibration is not None
    return [
        Figure("movielens_auc_last_half", half.auc, "1", 0.74, ">=", load),
        Figure("movielens_calibration_least", half.calibration, "1", 0.95, ">=", load),
        Figure("movielens_calibration_most", half.calibration, "1", 1.05, "<=", load),
    ]


if __name__ == "__main__":
    sys.exit(main())
