"""Counts what was sent against what was learned: nothing lost, nothing doubled; trusts no process's own counters."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import orjson

from checkpointing.history import manifests
from checkpointing.manifest import Manifest
from checkpointing.quality import Quality
from infra.clock import Clock
from infra.kafka import PartitionReader
from infra.object_store import ObjectStore
from infra.spec import Pipeline
from streaming import topics

READ_BATCH = 10_000
READ_TIMEOUT_SECONDS = 1.0
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Reckoning:
    """One count of everything, from the topics and the manifests themselves.

    Attributes:
        impressions: Impressions sent.
        verdicts: Different impressions that have a verdict.
        late: Impressions that came too late for one.
        dead: Events that could not be read.
        samples: Different sample ids in the topic: verdicts and corrections.
        repeated: Records that repeat a sample id, as at-least-once delivery may.
        trained: Samples learned, by the sums in the manifests.
        uncovered: Records of the topic that no batch of any manifest holds, or that two hold.
        versions: Manifests.
        quality: Progressive quality over all versions.
    """

    impressions: int
    verdicts: int
    late: int
    dead: int
    samples: int
    repeated: int
    trained: int
    uncovered: int
    versions: int
    quality: Quality

    @property
    def lost(self) -> int:
        """Impressions without any outcome, and samples that were never learned."""
        without_outcome = max(0, self.impressions - self.verdicts - self.late - self.dead)
        return without_outcome + max(0, self.samples - self.trained)

    @property
    def doubled(self) -> int:
        """Samples learned more than once."""
        return max(0, self.trained - self.samples)


class Reckoner:
    """Reads topics and manifests from their beginnings, each record once, and counts.

    Args:
        pipeline: The pipeline.
        store: Its store.
    """

    def __init__(self, pipeline: Pipeline, store: ObjectStore) -> None:
        self._pipeline = pipeline
        self._store = store
        self._line: list[Manifest] = []
        self._ids: Counter[str] = Counter()
        self._ends: dict[int, int] = {}
        self._late = 0
        self._dead = 0
        self._quality = Quality()
        self._tails = {
            topic: TopicTail(pipeline, topic)
            for topic in (topics.samples(pipeline.name), topics.late(pipeline.name), topics.dead(pipeline.name))
        }

    def count(self, *, impressions: int) -> Reckoning:
        """The count as of now.

        Args:
            impressions: How many well-formed impressions were sent, each with a key of its own.
        """
        # Manifests first: what they hold stands in the topic already, so that nothing seems learned twice.
        first = len(self._line) + 1
        for manifest in manifests(self._store, self._pipeline.name, first):
            self._line.append(manifest)
            for bucket in manifest.metrics.values():
                self._quality.add(Quality.from_json(bucket))  # type: ignore[arg-type]
        samples, late, dead = self._tails.values()
        for partition, offset, value in samples.read():
            self._ids[orjson.loads(value)["sample_id"]] += 1
            self._ends[partition] = offset + 1
        self._late += sum(orjson.loads(value)["reason"] == "late_impression" for _, _, value in late.read())
        self._dead += sum(1 for _ in dead.read())
        return Reckoning(
            impressions=impressions,
            verdicts=sum(sample_id.endswith(".0") for sample_id in self._ids),
            late=self._late,
            dead=self._dead,
            samples=len(self._ids),
            repeated=self._ids.total() - len(self._ids),
            trained=self._quality.samples,
            uncovered=_uncovered(self._line, self._ends),
            versions=len(self._line),
            quality=self._quality,
        )

    def settle(self, *, impressions: int, clock: Clock, seconds: float, alive: Callable[[], bool]) -> Reckoning:
        """Counts until every impression has an outcome that a version holds, or ``seconds`` have passed.

        Args:
            impressions: How many were sent.
            clock: The clock.
            seconds: How long to wait at most.
            alive: Asked between two counts; False ends the waiting.
        """
        deadline = clock.monotonic() + seconds
        while True:
            counted = self.count(impressions=impressions)
            settled = counted.lost == 0 and counted.uncovered == 0
            if settled or clock.monotonic() > deadline or not alive():
                return counted
            clock.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Ends the readers."""
        for tail in self._tails.values():
            tail.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TopicTail:
    """The records of a topic, each handed out once.

    Args:
        pipeline: Where the topic is.
        topic: Its name.
    """

    def __init__(self, pipeline: Pipeline, topic: str) -> None:
        self._reader = PartitionReader(pipeline.kafka, topic, group="springtide-reckoning")
        self._reader.assign(self._reader.positions_at("beginning"))

    def read(self) -> Iterator[tuple[int, int, bytes]]:
        """Everything that the topic holds now and was not handed out yet: partition, offset, value."""
        ends = {partition: marks.high for partition, marks in self._reader.watermarks().items()}
        # A transaction's end marker is an offset without a record: the position tells, not the last record.
        while any(self._reader.positions()[partition] < end for partition, end in ends.items()):
            batch = self._reader.poll_batch(READ_BATCH, READ_TIMEOUT_SECONDS)
            records = zip(batch.partitions.tolist(), batch.offsets.tolist(), batch.values, strict=True)
            yield from ((partition, offset, value) for partition, offset, value in records if value is not None)

    def close(self) -> None:
        """Ends the reader."""
        self._reader.close()


def _uncovered(line: list[Manifest], ends: dict[int, int]) -> int:
    """How many offsets below ``ends`` are in no batch, or in several."""
    covered: Counter[int] = Counter()
    expected: dict[int, int] = {}
    twice = 0
    for manifest in line:
        for batch in manifest.batches:
            for partition, begin, end in batch:
                twice += max(0, expected.get(partition, begin) - begin)
                expected[partition] = max(end, expected.get(partition, 0))
                covered[partition] += end - begin
    return twice + sum(abs(end - covered[partition]) for partition, end in ends.items())
