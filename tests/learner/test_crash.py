"""Killed at any moment, a learner goes on as if nothing had been: every sample is learned once, bit for bit."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpointing.history import newest_version
from checkpointing.quality import add_up
from infra import spec
from infra.kafka import PartitionReader
from infra.object_store import ObjectStore, open_store
from learner.rebuild import rebuild
from learner.run import run_learner
from learner.trainer import state_of
from streaming import topics
from tests.learner.messages import PIPELINE, message, sample
from tests.learner.mortal import PLACES, live
from tests.learner.state import restored
from tests.learner.stream import (
    CLOCK,
    committed_offsets,
    fresh_trainer,
    learner,
    line,
    make_topic,
    parts,
    send,
    until,
)

STRETCH = 10


def crash_pipeline(name: str, bootstrap: str, store: str) -> spec.Pipeline:
    """Tables with all that a commit moves: a row for each impression, counts, a filter, rows that leave."""
    events, features = PIPELINE["events"], PIPELINE["features"]
    impressions = events["impressions"]
    fields = [*impressions["fields"], {"name": "serial", "type": "integer"}]
    document = PIPELINE | {
        "name": name,
        "kafka": {"bootstrap": bootstrap},
        "store": {"url": store},
        "events": events | {"impressions": impressions | {"fields": fields}},
        "features": [*features, {"kind": "id", "name": "shown", "source": "serial", "table": "shown"}],
        "tables": [
            {
                "name": "user",
                "dim": 8,
                "admission": {"kind": "counter", "occurrences": 2},
                "eviction": {"max_rows": 12, "order": "lru"},
            },
            {"name": "item", "dim": 8},
            {"name": "genre", "dim": 8, "admission": {"kind": "bloom", "occurrences": 2, "capacity": 1000}},
            {"name": "shown", "dim": 8},
        ],
        "learner": PIPELINE["learner"] | {"commit_interval": "20ms", "max_batch": 16},
        "gate": {"log_loss": None, "calibration": None},
    }
    return spec.Pipeline.model_validate(document)


class Stream:
    """Impressions in two partitions, some answered late, with repeats, contradictions and broken messages among them.

    The first message of a sample id wins, whatever label a later one has.
    """

    def __init__(self, pipeline: spec.Pipeline) -> None:
        self._pipeline = pipeline
        self.messages = 0
        self.impressions = 0
        # By impression: how many samples it should come to, and how many of those are positive.
        self.samples: Counter[int] = Counter()
        self.positives: Counter[int] = Counter()

    def grow(self) -> None:
        """Sends the next stretch."""
        begin, self.impressions = self.impressions, self.impressions + STRETCH
        bodies: list[tuple[int, bytes | None]] = []
        for number in range(begin, self.impressions):
            partition, first = number % 2, sample(number)
            bodies.append((partition, message(number, serial=number)))
            self._expect(number, first)
            if number % 3 == 0 and not first["label_click"]:
                late = {"sample_id": f"imp-{number}#click.1", "kind": "correction", "label_click": 1, "serial": number}
                bodies.append((partition, message(number, **late)))
                self._expect(number, late)
            if number % 4 == 0:
                bodies.append((partition, message(number, serial=number)))
            if number % 5 == 0:
                other = {"label_click": 1 - first["label_click"], "serial": number}
                bodies.append((partition, message(number, **other)))
        if begin // STRETCH % 3 == 0:
            # A whole stretch once more, as after a failure of the join.
            bodies += [*bodies, (begin // STRETCH % 2, b"broken"), (0, None)]
        send(self._pipeline, bodies)
        self.messages += len(bodies)

    def _expect(self, number: int, document: dict[str, Any]) -> None:
        self.samples[number] += 1
        self.positives[number] += document["label_click"]


def assert_as_if_nothing_had_been(pipeline: spec.Pipeline, store: ObjectStore, stream: Stream, kills: int) -> None:
    """The line of versions, its positions, metrics and newest state against a learner that was never killed."""
    manifests = line(store, pipeline)
    newest = manifests[-1].version
    assert [manifest.kind for manifest in manifests].count("claim") == kills + 1
    for partition in (0, 1):
        runs = [run for m in manifests for batch in m.batches for run in batch if run[0] == partition]
        assert [begin for _, begin, _ in runs] == [0, *(end for _, _, end in runs[:-1])]
    quality = add_up(manifest.metrics for manifest in manifests)
    assert quality.samples == stream.samples.total()
    assert quality.positives == stream.positives.total()
    with PartitionReader(pipeline.kafka, topics.samples(pipeline.name), group="rebuild") as reader:
        rebuilt = rebuild(pipeline, lambda: fresh_trainer(pipeline), store, reader, CLOCK, first=0, last=newest)
    # Rows, their state and counts, filters, dense weights and their state, statistics, window, and all metrics.
    assert rebuilt.differences == []
    assert rebuilt.samples == stream.samples.total()


def frequencies(pipeline: spec.Pipeline, store: ObjectStore) -> dict[int, int]:
    """How many samples of each impression the newest version has learned."""
    state = state_of(restored(fresh_trainer(pipeline), pipeline, store, newest_version(store) or 0))
    assert {"counts/user/keys", "counts/genre/keys"} <= set(state)
    return dict(zip(state["rows/shown/keys"].tolist(), state["rows/shown/frequency"].tolist(), strict=True))


def turns(kills: int) -> list[tuple[str, int]]:
    """Every named place, then random ones; none later than the sixth time."""
    generator = np.random.default_rng(kills)
    more = [(str(generator.choice(PLACES)), int(generator.integers(1, 7))) for _ in range(kills - len(PLACES))]
    return [*((place, 1 + at % 2) for at, place in enumerate(PLACES)), *more]


@pytest.mark.parametrize("kills", [len(PLACES), pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_killed_at_every_step_of_a_commit_and_at_random_ones(
    kills: int, local_kafka: Any, unique: Callable[[str], str]
) -> None:
    name = unique("crash")
    pipeline = crash_pipeline(name, local_kafka.bootstrap, f"memory://{name}")
    make_topic(pipeline, partitions=2)
    store, stream = open_store(pipeline.store), Stream(pipeline)
    for place, turn in turns(kills):
        live(pipeline, store, place, turn, stream.grow)
    with learner(pipeline, store, identity="it"):
        until(lambda: sum(committed_offsets(store, pipeline).values()) == stream.messages)
    assert_as_if_nothing_had_been(pipeline, store, stream, kills)
    assert frequencies(pipeline, store) == stream.samples


def life(document: str) -> None:
    """One learner in a process of its own, until it is killed."""
    pipeline = spec.Pipeline.model_validate_json(document)
    store, never = open_store(pipeline.store), threading.Event()
    run_learner(pipeline, **parts(pipeline), store=store, clock=CLOCK, stop=never, identity="it")


@contextmanager
def flowing(stream: Stream) -> Iterator[None]:
    """Sends a stretch every 50 ms while the block lasts."""
    enough = threading.Event()

    def feed() -> None:
        while not enough.wait(0.05):
            stream.grow()

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    finally:
        enough.set()
        feeder.join()


@pytest.fixture(scope="module")
def processes() -> Any:
    """Processes that start in a moment, from a server that has imported TensorFlow once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.learner.test_crash"])
    return context


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.long)])
def test_processes_killed_at_any_moment(
    kills: int, local_kafka: Any, unique: Callable[[str], str], tmp_path: Path, processes: Any
) -> None:
    pipeline = crash_pipeline(unique("crash"), local_kafka.bootstrap, f"file://{tmp_path}/store")
    make_topic(pipeline, partitions=2)
    store, stream = open_store(pipeline.store), Stream(pipeline)
    generator = np.random.default_rng(kills)
    with flowing(stream):
        for _ in range(kills):
            process = processes.Process(target=life, args=(pipeline.model_dump_json(),))
            process.start()
            # Anything from the claim itself to the middle of a later commit.
            wanted = (newest_version(store) or 0) + int(generator.integers(1, 6))
            until(lambda at_least=wanted: (newest_version(store) or 0) >= at_least)  # type: ignore[misc]
            CLOCK.sleep(float(generator.uniform(0, 0.15)))  # a random moment is what is tested
            process.kill()
            process.join(30)
            assert process.exitcode == -signal.SIGKILL
    with learner(pipeline, store, identity="it"):
        until(lambda: sum(committed_offsets(store, pipeline).values()) == stream.messages)
    assert_as_if_nothing_had_been(pipeline, store, stream, kills)
