"""How long a click takes to be learned in every replica, under load; run by `make bench-freshness`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.figures import Figure, report
from infra.clock import SystemClock
from infra.kafka import Producer
from infra.local.stack import LocalStack
from infra.object_store import open_store
from springtide.datasets.event import Event
from springtide.datasets.movielens import MovieLens
from springtide.datasets.pace import steady
from springtide.datasets.replay import Replay
from springtide.local_pipeline import Ports, local_pipeline
from springtide.loop import Loop
from springtide.probe import Prober, ProbeResult
from springtide.probe_command import quantiles

EVENTS_PER_SECOND = 500
PROBES = 100
# The first minutes compile: Flink's JVM its code, the kernel its page tables. A user's loop has run for longer.
WARM_UP_SECONDS = 40.0
PROBE_TIMEOUT_SECONDS = 30.0
# The demo's half second is for squeezed time: a stall of a second would make an impression late, and a probe lost.
JOIN = {"window": "10s", "correction_window": "30s", "out_of_orderness": "2s"}
DATA = Path(".springtide/data")


def endless(log: Iterable[Event]) -> Iterator[Event]:
    """The log round and round, each time with keys of its own."""
    events = list(log)
    for round_number in itertools.count():
        yield from (replace(event, key=f"{event.key}-{round_number}") for event in events)


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    clock = SystemClock()
    console = Console(stderr=True)
    dataset = MovieLens.load(DATA)
    clicked = sum(event.click_after is not None for event in dataset.events()) / dataset.count()
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder:
        home = Path(folder)
        with LocalStack(home / "stack") as stack:
            pipeline = local_pipeline(
                dataset.document(), name="freshness", stack=stack, home=home, ports=Ports.free(), join=JOIN
            )
            loop = Loop(pipeline, home, home / "logs")
            loop.create_topics()
            loop.start()
            try:
                producer = Producer(pipeline.kafka)
                replay = Replay(pipeline.events, pipeline.join.window.ms, producer, clock)
                log = steady(endless(dataset.events()), EVENTS_PER_SECOND / (1 + clicked))
                traffic = threading.Thread(target=lambda: replay.run(log, speed=1.0, stop=stop), name="traffic")
                traffic.start()
                clock.sleep(WARM_UP_SECONDS)
                begin, before = clock.monotonic(), replay.sent.impressions + replay.sent.clicks
                results: list[ProbeResult] = []
                with Prober(pipeline, open_store(pipeline.store), clock) as prober:
                    for result in prober.probes(PROBES, timeout=PROBE_TIMEOUT_SECONDS):
                        results.append(result)
                        if len(results) % 10 == 0:
                            console.print(f"{len(results)}/{PROBES} probes, last {result.seconds:.2f} s")
                sent = replay.sent.impressions + replay.sent.clicks - before
                rate = sent / (clock.monotonic() - begin)
            finally:
                stop.set()
                loop.stop()
            traffic.join()
    return report("freshness", figures(results, rate))


def figures(results: list[ProbeResult], rate: float) -> list[Figure]:
    """The benchmark's figures, the stages among them."""
    p50, p99, longest = quantiles([result.seconds for result in results])
    load = f"{len(results)} probes, {rate:.0f} events/s, 2 replicas, {os.cpu_count()} cores for everything"
    stages = {
        "event_to_sample_p50_s": [result.joined_ms - result.sent_ms for result in results],
        "sample_to_train_p50_s": [result.trained_ms - result.joined_ms for result in results],
        "train_to_commit_p50_s": [result.committed_ms - result.trained_ms for result in results],
        "commit_to_applied_p50_s": [max(result.applied_ms.values()) - result.committed_ms for result in results],
    }
    return [
        Figure("probe_p50_s", p50, "s", 1.0, "<=", load),
        Figure("probe_p99_s", p99, "s", 2.0, "<=", load),
        Figure("probe_max_s", longest, "s", None, "<=", load),
        *(Figure(name, statistics.median(ms) / 1000, "s", None, "<=", "median stage") for name, ms in stages.items()),
    ]


if __name__ == "__main__":
    sys.exit(main())
