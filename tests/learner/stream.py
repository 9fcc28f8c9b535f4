"""A learner on the real Kafka with all that it needs; knows how a test starts, feeds and stops one."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from checkpointing.history import manifests, newest_version
from checkpointing.manifest import Manifest
from infra import spec
from infra.clock import SystemClock
from infra.kafka import KafkaAdmin, PartitionReader, Producer, TopicSettings
from infra.object_store import ObjectStore
from learner.assembly import build_trainer
from learner.replay import replay
from learner.run import run_learner
from learner.trainer import Trainer, state_of
from springtide.wiring import build_encoder, build_tables
from streaming import topics
from tests.asking import HTTP
from tests.learner.messages import PIPELINE
from tests.learner.state import assert_same, restored

CLOCK = SystemClock()


def make_pipeline(name: str, bootstrap: str, *, store: str = "memory://", **learner: Any) -> spec.Pipeline:
    """The pipeline of these tests under a name of its own."""
    document = PIPELINE | {
        "name": name,
        "kafka": {"bootstrap": bootstrap},
        "store": {"url": f"{store}{name}"},
        "learner": PIPELINE["learner"] | learner,
    }
    return spec.Pipeline.model_validate(document)


def make_topic(pipeline: spec.Pipeline, partitions: int = 1) -> str:
    """Creates the samples topic."""
    name = topics.samples(pipeline.name)
    settings = {"message.timestamp.type": "LogAppendTime"}
    KafkaAdmin(pipeline.kafka).ensure_topics([TopicSettings(name, partitions=partitions, settings=settings)])
    return name


def send(pipeline: spec.Pipeline, messages: Iterable[tuple[int, bytes | None]]) -> None:
    """Sends (partition, body) pairs in order and waits until Kafka has them."""
    producer = Producer(pipeline.kafka)
    for partition, body in messages:
        producer.send(topics.samples(pipeline.name), body, partition=partition)
    producer.flush()


def parts(pipeline: spec.Pipeline) -> dict[str, Any]:
    """Encoder and empty tables, as the wiring makes them."""
    encoder = build_encoder(pipeline)
    tables = build_tables(pipeline, encoder, max_batch=pipeline.learner.max_batch, trainable=True)
    return {"encoder": encoder, "tables": tables}


class Running:
    """A learner on a thread of its own."""

    def __init__(self, pipeline: spec.Pipeline, store: ObjectStore, **options: Any) -> None:
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.address = ""
        self._listening = threading.Event()
        self._pipeline, self._store, self._options = pipeline, store, options
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self._listening.wait(60)

    def _run(self) -> None:
        try:
            run_learner(
                self._pipeline,
                **parts(self._pipeline),
                store=self._store,
                clock=CLOCK,
                stop=self.stop,
                on_listening=self._listens,
                **self._options,
            )
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        finally:
            self._listening.set()

    def _listens(self, address: str) -> None:
        self.address = address
        self._listening.set()

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.get("/status").json()
        return answer

    def get(self, path: str) -> httpx.Response:
        """What its status server answers."""
        return HTTP.get(f"{self.address}{path}")

    def ended(self, seconds: float = 60) -> BaseException | None:
        """Waits for its end and returns what it ended with."""
        self.thread.join(seconds)
        assert not self.thread.is_alive()
        return self.error


@contextmanager
def learner(pipeline: spec.Pipeline, store: ObjectStore, **options: Any) -> Iterator[Running]:
    """A learner that is stopped, and must have ended well, when the block ends."""
    running = Running(pipeline, store, **options)
    try:
        yield running
    finally:
        running.stop.set()
        running.thread.join(60)
    if running.error is not None:
        raise running.error


def until(condition: Callable[[], bool], seconds: float = 60, every: float = 0.02) -> None:
    """Waits until ``condition`` holds, which is looked at once ``every`` so many seconds."""
    deadline = CLOCK.monotonic() + seconds
    while not condition():
        assert CLOCK.monotonic() < deadline, "the condition did not come true in time"
        CLOCK.sleep(every)


def committed_offsets(store: ObjectStore, pipeline: spec.Pipeline) -> dict[int, int]:
    """The positions of the newest version."""
    newest = newest_version(store)
    if newest is None:
        return {}
    (manifest,) = manifests(store, pipeline.name, newest, newest)
    return {position.partition: position.next_offset for position in manifest.positions}


def line(store: ObjectStore, pipeline: spec.Pipeline) -> list[Manifest]:
    """All manifests, oldest first."""
    return list(manifests(store, pipeline.name))


def fresh_trainer(pipeline: spec.Pipeline) -> Trainer:
    """A trainer in its first state."""
    return build_trainer(pipeline, **parts(pipeline))


def replayed(pipeline: spec.Pipeline, store: ObjectStore, version: int) -> Trainer:
    """A trainer that learned the batches of all versions up to ``version`` once more."""
    with PartitionReader(pipeline.kafka, topics.samples(pipeline.name), group="replay") as reader:
        return replay(store, pipeline.name, version, fresh_trainer(pipeline), reader, CLOCK)


def assert_replay_equals(pipeline: spec.Pipeline, store: ObjectStore, version: int) -> dict[str, Any]:
    """Restores ``version`` and learns its batches once more from version 0: bit for bit the same; returns the state."""
    stored = restored(fresh_trainer(pipeline), pipeline, store, version)
    assert_same(stored, replayed(pipeline, store, version))
    return state_of(stored)
