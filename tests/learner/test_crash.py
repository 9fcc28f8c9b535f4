"""Killed at any moment, a learner goes on as if nothing had been: every sample is learned once, bit for bit."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpointing.history import newest_version
from checkpointing.quality import add_up
from infra import spec
from infra.object_store import open_store
from learner.run import run_learner
from tests.learner.messages import message, sample
from tests.learner.stream import (
    CLOCK,
    assert_replay_equals,
    committed_offsets,
    line,
    make_pipeline,
    make_topic,
    parts,
    send,
    until,
)

STRETCH = 10


def life(document: str, stopped: Any) -> None:
    """One learner in a process of its own, until it is killed or told to stop."""
    pipeline = spec.Pipeline.model_validate_json(document)
    stop = threading.Event()

    def relay() -> None:
        stopped.wait()
        stop.set()

    threading.Thread(target=relay, daemon=True).start()
    run_learner(pipeline, **parts(pipeline), store=open_store(pipeline.store), clock=CLOCK, stop=stop, identity="it")


@pytest.fixture(scope="module")
def processes() -> Any:
    """Processes that start in a moment, from a server that has imported TensorFlow once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.learner.test_crash"])
    return context


class Feeder:
    """The stream: two partitions, broken messages in between, and every third stretch sent once more."""

    def __init__(self, pipeline: spec.Pipeline) -> None:
        self._pipeline = pipeline
        self._enough = threading.Event()
        self.samples = 0
        self.messages = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._enough.wait(0.05):
            begin = self.samples
            stretch: list[tuple[int, bytes | None]] = [
                (number % 2, message(number)) for number in range(begin, begin + STRETCH)
            ]
            if begin // STRETCH % 3 == 0:
                stretch += [*stretch, (begin // STRETCH % 2, b"broken")]
            send(self._pipeline, stretch)
            self.samples += STRETCH
            self.messages += len(stretch)

    def finish(self) -> None:
        """Ends the stream."""
        self._enough.set()
        self._thread.join()


@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=pytest.mark.long)])
def test_killed_at_random_moments(
    kills: int, local_kafka: Any, unique: Callable[[str], str], tmp_path: Path, processes: Any
) -> None:
    pipeline = make_pipeline(
        unique("crash"), local_kafka.bootstrap, store=f"file://{tmp_path}/", commit_interval="30ms", max_batch=16
    )
    make_topic(pipeline, partitions=2)
    store = open_store(pipeline.store)
    generator = np.random.default_rng(kills)
    feeder = Feeder(pipeline)
    for _ in range(kills):
        stopped = processes.Event()
        process = processes.Process(target=life, args=(pipeline.model_dump_json(), stopped))
        process.start()
        # Anything from the claim itself to the middle of a later commit.
        wanted = (newest_version(store) or 0) + int(generator.integers(1, 6))
        until(lambda at_least=wanted: (newest_version(store) or 0) >= at_least)  # type: ignore[misc]
        CLOCK.sleep(float(generator.uniform(0, 0.15)))
        process.kill()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
    feeder.finish()
    stopped = processes.Event()
    process = processes.Process(target=life, args=(pipeline.model_dump_json(), stopped))
    process.start()
    until(lambda: sum(committed_offsets(store, pipeline).values()) == feeder.messages)
    stopped.set()
    process.join(60)
    assert process.exitcode == 0

    manifests = line(store, pipeline)
    assert [manifest.kind for manifest in manifests].count("claim") == kills + 1
    for partition in (0, 1):
        runs = [run for m in manifests for batch in m.batches for run in batch if run[0] == partition]
        assert [begin for _, begin, _ in runs] == [0, *(end for _, _, end in runs[:-1])]
    quality = add_up(manifest.metrics for manifest in manifests)
    assert quality.samples == feeder.samples
    assert quality.positives == sum(sample(number)["label_click"] for number in range(feeder.samples))
    newest = manifests[-1].version
    mine = assert_replay_equals(pipeline, store, newest)
    # Every sample, once: a row's frequency counts the samples that it took part in.
    frequencies = dict(zip(mine["rows/item/keys"].tolist(), mine["rows/item/frequency"].tolist(), strict=True))
    items = [sample(number)["item"] for number in range(feeder.samples)]
    assert frequencies == {item: items.count(item) for item in set(items)}
