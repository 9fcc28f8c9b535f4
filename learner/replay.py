"""Trains the batches of committed versions once more, exactly as they were; must not know loop or wall clock."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from checkpointing.content import Run
from checkpointing.control import ControlLog
from checkpointing.history import ahead, ancestors, read_manifest
from checkpointing.manifest import Manifest
from infra.clock import Clock
from infra.errors import Corrupt, Invalid, Unavailable
from infra.kafka import Batch, PartitionReader
from infra.object_store import ObjectStore
from learner.trainer import Trainer

POLL_MESSAGES: Final = 4096
POLL_TIMEOUT_S: Final = 0.05
# A run's messages were there when they were trained, so that a long silence means that they are gone.
SILENCE_S: Final = 10.0
# A partition that is read ahead of its turn is paused when so many of its messages wait, and read again at half.
MOST_HELD: Final = 20_000

_Message = tuple[int, int, bytes | None, bytes | None]  # offset, timestamp, key, value


class RunReader:
    """Reads a topic by runs of offsets, each partition strictly forward; holds a bounded number of messages.

    Args:
        reader: Assigned here; nobody else reads with it.
        first: The first offset wanted, by partition.
        clock: Bounds the waiting.
    """

    def __init__(self, reader: PartitionReader, first: dict[int, int], clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._held: dict[int, deque[_Message]] = {partition: deque() for partition in first}
        self._read: dict[int, int] = dict(first)
        self._paused: set[int] = set()
        reader.assign(first)

    @property
    def held(self) -> int:
        """How many messages wait in memory for their turn."""
        return sum(map(len, self._held.values()))

    def batch(self, runs: Iterable[Run]) -> Batch:
        """The messages of a batch, in the order in which they were trained.

        Raises:
            Corrupt: The topic no longer holds them.
        """
        partitions: list[int] = []
        messages: list[_Message] = []
        for partition, begin, end in runs:
            taken = self._run(partition, begin, end)
            partitions += [partition] * len(taken)
            messages += taken
        return Batch(
            topic=self._reader.topic,
            partitions=np.array(partitions, np.int32),
            offsets=np.array([message[0] for message in messages], np.int64),
            timestamps_ms=np.array([message[1] for message in messages], np.int64),
            keys=[message[2] for message in messages],
            values=[message[3] for message in messages],
        )

    def _run(self, partition: int, begin: int, end: int) -> list[_Message]:
        held = self._held[partition]
        heard = self._clock.monotonic()
        while self._read[partition] < end:
            self._balance(partition)
            if self._fill():
                heard = self._clock.monotonic()
            elif self._clock.monotonic() - heard > SILENCE_S:
                raise Corrupt(
                    f"offsets {self._read[partition]} to {end} cannot be read any more",
                    wanted="every message of the versions that are replayed",
                    cure="replay from a version whose samples the topic still holds",
                    where=f"{self._reader.topic}[{partition}]",
                )
        while held and held[0][0] < begin:
            held.popleft()
        taken = []
        while held and held[0][0] < end:
            taken.append(held.popleft())
        return taken

    def _balance(self, wanted: int) -> None:
        """Pauses partitions that are far ahead, and never the one that is wanted now."""
        for partition, held in self._held.items():
            if partition in self._paused:
                if partition == wanted or len(held) <= MOST_HELD // 2:
                    self._paused.remove(partition)
                    self._reader.resume(partition)
            elif len(held) > MOST_HELD and partition != wanted:
                self._paused.add(partition)
                self._reader.pause(partition)

    def _fill(self) -> bool:
        try:
            batch = self._reader.poll_batch(POLL_MESSAGES, POLL_TIMEOUT_S)
        except Unavailable:
            return False
        columns = (batch.partitions.tolist(), batch.offsets.tolist(), batch.timestamps_ms.tolist())
        for partition, offset, timestamp, key, value in zip(*columns, batch.keys, batch.values, strict=True):
            self._held[partition].append((offset, timestamp, key, value))
            self._read[partition] = offset + 1
        return len(batch) > 0


def replay(
    store: ObjectStore,
    model: str,
    version: int,
    trainer: Trainer,
    reader: PartitionReader,
    clock: Clock,
    on_version: Callable[[Manifest, Learnt], Any] | None = None,
    *,
    after: int = 0,
) -> Trainer:
    """Brings a trainer to ``version`` by training the batches of its ancestors in order.

    The result equals the version's state bit for bit, in an environment like the one that its manifest records.

    Args:
        store: The model's store; only manifests are read.
        model: The model's name.
        version: How far to go.
        trainer: In the state of ``after``.
        reader: Of the samples topic; assigned here.
        clock: Bounds the waiting.
        on_version: Told each version whose batches are done, and what they came to.
        after: The version that the trainer stands at; 0 for its first state.

    Raises:
        Invalid: There is no such version, or it does not descend from ``after``.
        Corrupt: A manifest is wrong, or the topic no longer holds its messages.
    """
    numbers, first = _way(store, model, version, after)
    control = ControlLog(store, model)
    control.poll()
    runs = RunReader(reader, first, clock)
    # Read once more instead of kept: batches are most of a manifest, and a day has 86,400 of them.
    for manifest in ahead(lambda number: read_manifest(store, model, number), numbers):
        if manifest is None:
            raise Corrupt("a version was deleted meanwhile", wanted=f"versions {after} to {version}", where=store.url)
        learnt = Learnt()
        for batch in manifest.batches:
            learned = trainer.train(runs.batch(batch))
            learnt.batches += 1
            learnt.samples += learned.trained
        trainer.drain()
        trainer.forget(control.decisions.forgotten_keys(manifest.obeyed))
        learnt.metrics = trainer.metrics.take()
        # What a commit would take along; nobody does here, and it must not pile up.
        trainer.window.capture()
        if on_version is not None:
            on_version(manifest, learnt)
    return trainer


@dataclass
class Learnt:
    """What the batches of one version came to.

    Args:
        batches: How many.
        samples: How many samples were trained in them.
        metrics: Progressive metrics, in the manifest's form.
    """

    batches: int = 0
    samples: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)


def _way(store: ObjectStore, model: str, version: int, after: int) -> tuple[list[int], dict[int, int]]:
    """The versions to train, oldest first, and the first offset wanted of each partition."""
    if not 0 <= after <= version:
        raise Invalid(f"version {after} is not before version {version}", wanted="an earlier version, or 0")
    numbers: list[int] = []
    first: dict[int, int] = {}
    reached: int | None = version
    for manifest in ancestors(store, model, version, down_to=after + 1):
        if manifest.base_ref == 0:
            raise Invalid(
                f"version {manifest.version} begins with what a changed pipeline took over, which no samples lead to",
                wanted=f"a replay from version {manifest.version} on",
                cure="list the versions with `springtide versions`",
            )
        numbers.append(manifest.version)
        reached = manifest.predecessor
        for batch in reversed(manifest.batches):
            # Newest first, so that the oldest is written last.
            first |= {partition: begin for partition, begin, _ in reversed(batch)}
    if (reached or 0) != after:
        raise Invalid(
            f"version {version} does not descend from version {after}: it was reverted to {reached}",
            wanted=f"version {reached}, or an ancestor of it",
            cure="list them with `springtide versions`",
        )
    return numbers[::-1], first
