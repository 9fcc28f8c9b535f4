"""What one event costs in each process of the demo's loop, and how many it carries; run by `make bench-loop-costs`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.asking import http
from benchmarks.figures import Figure, report
from benchmarks.freshness import endless
from benchmarks.loop_processes import Watched
from infra.clock import SystemClock
from infra.kafka import Producer
from infra.local.stack import LocalStack
from infra.object_store import ObjectStore, open_store
from springtide.datasets.event import Event
from springtide.datasets.movielens import MovieLens
from springtide.datasets.pace import steady
from springtide.datasets.replay import Replay
from springtide.local_pipeline import Ports, local_pipeline
from springtide.loop import Loop

DATA = Path(".springtide/data")
# Flink's JVM compiles for minutes; a loop that is sized runs for longer.
WARM_SECONDS, PHASE_SECONDS, IDLE_SECONDS = 60.0, 40.0, 20.0
# Impressions a second.
RATES = (200.0, 600.0)
BURST = 40_000
BURST_SECONDS = 150.0
CLOCK = SystemClock()


@dataclass(frozen=True)
class Phase:
    """One steady load.

    Attributes:
        events: Impressions and clicks a second.
        samples: Trained a second.
        cores: By process, processor seconds a second.
        put_bytes: Bytes of versions a second.
        puts: Objects of versions a second.
    """

    events: float
    samples: float
    cores: Mapping[str, float]
    put_bytes: float
    puts: float


class Traffic:
    """The log round and round, at whatever pace is asked for."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._log: Iterator[Event] = endless(MovieLens.load(DATA).events())
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.sent = 0

    def start(self, rate: float, count: int | None = None) -> None:
        """Begins to send, ``count`` impressions or until it is stopped."""
        self._stop = threading.Event()
        pipeline = self._loop.pipeline
        log = steady(itertools.islice(self._log, count), rate)

        def send() -> None:
            with Producer(pipeline.kafka) as producer:
                replay = Replay(pipeline.events, pipeline.join.window.ms, producer, CLOCK)
                begin = self.sent

                def progress(_: object) -> None:
                    self.sent = begin + replay.sent.impressions + replay.sent.clicks

                replay.run(log, speed=1.0, stop=self._stop, progress=progress)
                progress(None)

        self._thread = threading.Thread(target=send, name="traffic")
        self._thread.start()

    def stop(self, *, wait: bool = False) -> None:
        """Ends it, or waits for the end of a counted one."""
        if self._thread is not None:
            if not wait:
                self._stop.set()
            self._thread.join()
            self._thread = None


def trained(loop: Loop) -> int:
    """Samples trained so far."""
    return int(learner_status(loop)["samples_total"])


def learner_status(loop: Loop) -> dict[str, Any]:
    """What the learner says of itself."""
    found: dict[str, Any] = http().get(f"{loop.addresses['learner']}/status").json()
    return found


def stored(store: ObjectStore) -> tuple[int, int]:
    """Objects and bytes of versions so far."""
    entries = [each for folder in ("versions", "manifests") for each in store.entries(folder)]
    return len(entries), sum(each.size for each in entries)


def measure(loop: Loop, watched: Watched, traffic: Traffic, store: ObjectStore, seconds: float) -> Phase:
    """What ``seconds`` of the load that runs now cost."""
    cores, samples, sent, objects = watched.seconds(), trained(loop), traffic.sent, stored(store)
    began = CLOCK.monotonic()
    CLOCK.sleep(seconds)
    spent, later = watched.seconds(), stored(store)
    passed = CLOCK.monotonic() - began
    return Phase(
        (traffic.sent - sent) / passed,
        (trained(loop) - samples) / passed,
        {name: (spent[name] - cores[name]) / passed for name in spent},
        (later[1] - objects[1]) / passed,
        (later[0] - objects[0]) / passed,
    )


def burst(loop: Loop, traffic: Traffic) -> float:
    """Events a second that the whole machine carries: so many at once, until all of them are learned."""
    before, sent, began = trained(loop), traffic.sent, CLOCK.monotonic()
    traffic.start(1e6, BURST)
    traffic.stop(wait=True)
    # Every impression ends as one verdict at least; those of the last window are still to come.
    while trained(loop) - before < 0.99 * BURST and CLOCK.monotonic() - began < BURST_SECONDS:
        CLOCK.sleep(0.2)
    share = min(1.0, (trained(loop) - before) / BURST)
    return (traffic.sent - sent) * share / (CLOCK.monotonic() - began)


def run() -> tuple[list[Phase], float, dict[str, float], int]:
    """Phases (the first without load), the burst's events a second, MiB by process, rows of all tables."""
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder:
        home = Path(folder)
        with LocalStack(home / "stack") as stack:
            document = MovieLens.load(DATA).document()
            pipeline = local_pipeline(document, name="costs", stack=stack, home=home, ports=Ports.free())
            store = open_store(pipeline.store)
            loop = Loop(pipeline, home, home / "logs")
            loop.create_topics()
            loop.start()
            traffic = Traffic(loop)
            try:
                watched = Watched(stack, loop)
                traffic.start(RATES[-1])
                CLOCK.sleep(WARM_SECONDS)
                phases = []
                for rate in RATES[::-1]:
                    traffic.stop()
                    traffic.start(rate)
                    CLOCK.sleep(2)
                    phases.append(measure(loop, watched, traffic, store, PHASE_SECONDS))
                traffic.stop()
                CLOCK.sleep(5)
                phases.append(measure(loop, watched, traffic, store, IDLE_SECONDS))
                carried = burst(loop, traffic)
                memory = watched.mebibytes()
                status = learner_status(loop)
            finally:
                traffic.stop()
                loop.stop()
    return phases[::-1], carried, memory, sum(table["rows"] for table in status["tables"].values())


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    phases, carried, memory, rows = run()
    load = (
        f"the demo's pipeline, 2 replicas, {', '.join(f'{each.events:.0f}' for each in phases)} events/s, "
        f"{os.cpu_count()} cores for everything"
    )
    found = []
    for name in phases[0].cores:
        fit = np.polyfit([each.events for each in phases], [each.cores[name] for each in phases], 1)
        found += [
            Figure(f"{name}_base_cores", float(max(0.0, fit[1])), "cores", None, "<=", load),
            Figure(f"{name}_us_per_event", float(fit[0]) * 1e6, "us", None, "<=", load),
            Figure(f"{name}_mib", memory[name], "MiB", None, "<=", f"after the burst; {rows:,} rows in the tables"),
        ]
    busy = phases[-1]
    found += [
        Figure("samples_per_event", busy.samples / busy.events, "1", None, ">=", load),
        Figure("put_bytes_per_s", busy.put_bytes, "B/s", None, "<=", f"at {busy.events:.0f} events/s"),
        Figure("puts_per_s", busy.puts, "1/s", None, "<=", f"at {busy.events:.0f} events/s"),
        Figure("events_per_s_carried", carried, "1/s", None, ">=", f"{BURST:,} impressions at once; {load}"),
        Figure("all_mib", sum(memory.values()) + memory["replica"], "MiB", None, "<=", "all processes, both replicas"),
    ]
    return report("loop-costs", found)


if __name__ == "__main__":
    sys.exit(main())
