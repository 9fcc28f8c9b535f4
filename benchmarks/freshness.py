"""How long a click takes to be learned in every replica, under load; run by `make bench-freshness`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from benchmarks.figures import Figure, report
from benchmarks.loop_processes import Watched
from checkpointing.history import manifests, newest_version
from infra.clock import SystemClock
from infra.errors import Unavailable
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

# The first minutes compile: at 2,000 events/s Java's second compiler alone takes a sixth to a third of a core for some
# four of them. A user's loop has run for longer: it begins to count when the compilers are through with most of it,
# and it has caught up with the events of these minutes.
WARM_UP_SECONDS, COMPILED_SECONDS, CATCH_UP_SECONDS = 40.0, 360.0, 240.0
LOOK_SECONDS, QUIET_CORES = 15.0, 0.06
PROBE_TIMEOUT_SECONDS = 30.0
# As a cluster has it, and not as one for tests: both compilers, and room for the state (with half of it the collector
# takes 0.15 cores at 2,000 events/s).
WORKER_OPTIONS = ("-Xms2g", "-Xmx2g", "-XX:TieredStopAtLevel=4")
# The demo's half second is for squeezed time: a stall of a second would make an impression late, and a probe lost.
# By default keys are remembered for an hour: at 2,000 events/s the state would still grow while this measures, and the
# figures would not be those of the next hour.
JOIN = {
    "window": "10s",
    "correction_window": "30s",
    "out_of_orderness": "2s",
    "future_bound": "5s",
    "repeat_window": "1m",
}
DATA = Path(".springtide/data")


def endless(log: Iterable[Event]) -> Iterator[Event]:
    """The log round and round, each time with keys of its own."""
    events = list(log)
    for round_number in itertools.count():
        yield from (replace(event, key=f"{event.key}-{round_number}") for event in events)


@dataclass(frozen=True)
class Scenario:
    """One loop and its load.

    Attributes:
        events_per_second: Impressions and clicks together.
        commit_interval: Of the learner, as the pipeline has it.
        probes: How many clicks are followed.
        ending: What its figures' names end with.
        p50: Target of the median, seconds.
        p99: Target of the 99th percentile, seconds.
    """

    events_per_second: int
    commit_interval: str
    probes: int
    ending: str
    p50: float
    p99: float


SCENARIOS = (
    Scenario(500, "1s", 100, "", 1.0, 2.0),
    Scenario(2_000, "200ms", 200, "_at_2000", 0.5, 1.0),
)


@dataclass(frozen=True)
class Outcome:
    """What a scenario showed.

    Attributes:
        probes: Those that were learned.
        lost: What became of one that was not learned in time; None where all were.
        warmed: Seconds of load before the first of them.
        rate: Events per second.
        puts_per_hour: The learner's, into the store.
        cores: Processor time per second, by process.
    """

    probes: list[ProbeResult]
    lost: str | None
    warmed: float
    rate: float
    puts_per_hour: float
    cores: Mapping[str, float]


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", type=int, choices=[one.events_per_second for one in SCENARIOS], help="events a second"
    )
    only = parser.parse_args().only
    found: list[Figure] = []
    for scenario in SCENARIOS:
        if only in (None, scenario.events_per_second):
            found += figures(scenario, run(scenario))
    return report("freshness", found)


def run(scenario: Scenario) -> Outcome:
    """Starts everything on this machine, loads it and sends probes through it."""
    clock = SystemClock()
    console = Console(stderr=True)
    dataset = MovieLens.load(DATA)
    clicked = sum(event.click_after is not None for event in dataset.events()) / dataset.count()
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder:
        home = Path(folder)
        with LocalStack(home / "stack", worker_options=WORKER_OPTIONS) as stack:
            pipeline = local_pipeline(
                dataset.document(),
                name="freshness",
                stack=stack,
                home=home,
                ports=Ports.free(),
                join=JOIN,
                learner={"commit_interval": scenario.commit_interval},
            )
            store = open_store(pipeline.store)
            loop = Loop(pipeline, home, home / "logs")
            loop.create_topics()
            loop.start()
            try:
                producer = Producer(pipeline.kafka)
                replay = Replay(pipeline.events, pipeline.join.window.ms, producer, clock)
                log = steady(endless(dataset.events()), scenario.events_per_second / (1 + clicked))
                traffic = threading.Thread(target=lambda: replay.run(log, speed=1.0, stop=stop), name="traffic")
                traffic.start()
                began = clock.monotonic()
                clock.sleep(WARM_UP_SECONDS)
                watched = Watched(stack, loop)
                await_compiled(watched, clock)
                results: list[ProbeResult] = []
                lost: str | None = None
                with Prober(pipeline, store, clock) as prober:
                    catch_up(prober, scenario.p99, clock)
                    warmed = clock.monotonic() - began
                    begin, before = clock.monotonic(), replay.sent.impressions + replay.sent.clicks
                    first, spent = newest_version(store) or 0, watched.seconds()
                    try:
                        for result in prober.probes(scenario.probes, timeout=PROBE_TIMEOUT_SECONDS):
                            results.append(result)
                            if len(results) % 10 == 0:
                                console.print(f"{len(results)}/{scenario.probes} probes, last {result.seconds:.2f} s")
                    except Unavailable as error:  # what it cost is worth knowing all the same
                        lost = error.what
                sent = replay.sent.impressions + replay.sent.clicks - before
                elapsed = clock.monotonic() - begin
                cores = {name: (now - spent[name]) / elapsed for name, now in watched.seconds().items()}
                # A version is its packs and its manifest (checkpointing/FORMAT.md 1).
                puts = sum(1 + len(manifest.files) for manifest in manifests(store, pipeline.name, first + 1))
            finally:
                stop.set()
                loop.stop()
            traffic.join()
    return Outcome(results, lost, warmed, sent / elapsed, puts / elapsed * 3600, cores)


def await_compiled(watched: Watched, clock: SystemClock) -> None:
    """Returns when the Java compilers have become quiet, or the time for it is over."""
    deadline = clock.monotonic() + COMPILED_SECONDS
    spent = watched.compiling_seconds()
    while clock.monotonic() < deadline:
        clock.sleep(LOOK_SECONDS)
        before, spent = spent, watched.compiling_seconds()
        # It falls where a compiler's thread has ended.
        if 0 <= spent - before < QUIET_CORES * LOOK_SECONDS:
            return


def catch_up(prober: Prober, seconds: float, clock: SystemClock) -> None:
    """Sends probes until one takes no longer than ``seconds``, or the time for it is over."""
    deadline = clock.monotonic() + CATCH_UP_SECONDS
    while clock.monotonic() < deadline:
        with contextlib.suppress(Unavailable):
            if prober.probe(timeout=PROBE_TIMEOUT_SECONDS).seconds <= seconds:
                return


def figures(scenario: Scenario, outcome: Outcome) -> list[Figure]:
    """The figures of one scenario: of its probes, and what it cost."""
    ending = scenario.ending
    return [
        *(probe_figures(scenario, outcome) if outcome.lost is None else missed(scenario, outcome.lost)),
        Figure(
            f"puts_per_hour{ending}", outcome.puts_per_hour, "puts/h", None, "<=", "packs and manifests of versions"
        ),
        Figure(f"warm_up_s{ending}", outcome.warmed, "s", None, "<=", "under load, before the first probe"),
        *(
            Figure(f"{name}_cores{ending}", used, "cores", None, "<=", "meanwhile; of two replicas one")
            for name, used in outcome.cores.items()
        ),
    ]


def probe_figures(scenario: Scenario, outcome: Outcome) -> list[Figure]:
    """How long the probes took, the stages among it."""
    results, ending = outcome.probes, scenario.ending
    p50, p99, longest = quantiles([result.seconds for result in results])
    load = (
        f"{len(results)} probes, {outcome.rate:.0f} events/s, commits every {scenario.commit_interval}, 2 replicas, "
        f"{os.cpu_count()} cores for everything"
    )
    stages = {
        "event_to_sample": [result.joined_ms - result.sent_ms for result in results],
        "sample_to_train": [result.trained_ms - result.joined_ms for result in results],
        "train_to_commit": [result.committed_ms - result.trained_ms for result in results],
        "commit_to_applied": [max(result.applied_ms.values()) - result.committed_ms for result in results],
    }
    medians = {name: statistics.median(ms) / 1000 for name, ms in stages.items()}
    return [
        Figure(f"probe_p50_s{ending}", p50, "s", scenario.p50, "<=", load),
        Figure(f"probe_p99_s{ending}", p99, "s", scenario.p99, "<=", load),
        Figure(f"probe_max_s{ending}", longest, "s", None, "<=", load),
        *(Figure(f"{name}_p50_s{ending}", value, "s", None, "<=", "median stage") for name, value in medians.items()),
    ]


def missed(scenario: Scenario, lost: str) -> list[Figure]:
    """The targets of a scenario that came to no end."""
    targets = {"probe_p50_s": scenario.p50, "probe_p99_s": scenario.p99}
    return [Figure(f"{name}{scenario.ending}", math.inf, "s", target, "<=", lost) for name, target in targets.items()]


if __name__ == "__main__":
    sys.exit(main())
