"""Trains the batches of committed versions once more, exactly as they were; must not know loop or wall clock."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from checkpointing.content import Run
from checkpointing.history import ancestors
from infra.clock import Clock
from infra.errors import Corrupt, Unavailable
from infra.kafka import Batch, PartitionReader
from infra.object_store import ObjectStore
from learner.trainer import Trainer

POLL_MESSAGES: Final = 4096
POLL_TIMEOUT_S: Final = 0.05
# A run's messages were there when they were trained, so that a long silence means that they are gone.
SILENCE_S: Final = 10.0

_Message = tuple[int, int, bytes | None, bytes | None]  # offset, timestamp, key, value


class RunReader:
    """Reads a topic by runs of offsets, each partition strictly forward.

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
        reader.assign(first)

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
    on_version: Callable[[int], Any] | None = None,
) -> Trainer:
    """Brings a trainer in its first state to ``version`` by training the batches of its ancestors in order.

    The result equals the version's state bit for bit, in an environment like the one that its manifest records.

    Args:
        store: The model's store; only manifests are read.
        model: The model's name.
        version: How far to go.
        trainer: In its first state.
        reader: Of the samples topic; assigned here.
        clock: Bounds the waiting.
        on_version: Told each version whose batches are done.

    Raises:
        Invalid: There is no such version.
        Corrupt: A manifest is wrong, or the topic no longer holds its messages.
    """
    manifests = list(ancestors(store, model, version))[::-1]
    first: dict[int, int] = {}
    for manifest in manifests:
        for batch in manifest.batches:
            for partition, begin, _ in batch:
                first.setdefault(partition, begin)
    runs = RunReader(reader, first, clock)
    for manifest in manifests:
        for batch in manifest.batches:
            trainer.train(runs.batch(batch))
        if on_version is not None:
            on_version(manifest.version)
    return trainer
