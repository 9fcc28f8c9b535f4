"""Counts what was sent against what was learned: nothing lost, nothing doubled; trusts no process's own counters."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
POLL_SECONDS = 0.2


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


def reckon(pipeline: Pipeline, store: ObjectStore, *, impressions: int) -> Reckoning:
    """Reads the topics from their beginnings and every manifest, and counts.

    Args:
        pipeline: The pipeline.
        store: Its store.
        impressions: How many well-formed impressions were sent, each with a key of its own.
    """
    line = list(manifests(store, pipeline.name))
    ids: Counter[str] = Counter()
    offsets: dict[int, int] = {}
    for partition, offset, value in read_topic(pipeline, topics.samples(pipeline.name)):
        ids[orjson.loads(value)["sample_id"]] += 1
        offsets[partition] = offset + 1
    late = sum(
        orjson.loads(value)["reason"] == "late_impression"
        for _, _, value in read_topic(pipeline, topics.late(pipeline.name))
    )
    dead = sum(1 for _ in read_topic(pipeline, topics.dead(pipeline.name)))
    quality = Quality()
    for manifest in line:
        for bucket in manifest.metrics.values():
            quality.add(Quality.from_json(bucket))  # type: ignore[arg-type]
    return Reckoning(
        impressions=impressions,
        verdicts=sum(sample_id.endswith(".0") for sample_id in ids),
        late=late,
        dead=dead,
        samples=len(ids),
        repeated=ids.total() - len(ids),
        trained=quality.samples,
        uncovered=_uncovered(line, offsets),
        versions=len(line),
        quality=quality,
    )


def await_settled(
    pipeline: Pipeline, store: ObjectStore, *, impressions: int, clock: Clock, seconds: float, alive: Callable[[], bool]
) -> Reckoning:
    """Waits until every impression has an outcome that a version holds, or ``seconds`` have passed; then the count.

    Args:
        pipeline: The pipeline.
        store: Its store.
        impressions: How many were sent.
        clock: The clock.
        seconds: How long to wait at most.
        alive: Asked between two counts; False ends the waiting.
    """
    deadline = clock.monotonic() + seconds
    while True:
        counted = reckon(pipeline, store, impressions=impressions)
        settled = counted.lost == 0 and counted.uncovered == 0
        if settled or clock.monotonic() > deadline or not alive():
            return counted
        clock.sleep(POLL_SECONDS)


def read_topic(pipeline: Pipeline, topic: str) -> Iterator[tuple[int, int, bytes]]:
    """All records of ``topic`` as of now: partition, offset, value."""
    with PartitionReader(pipeline.kafka, topic, group="springtide-reckoning") as reader:
        ends = {partition: marks.high for partition, marks in reader.watermarks().items()}
        begins = {partition: marks.low for partition, marks in reader.watermarks().items()}
        left = {partition for partition in ends if begins[partition] < ends[partition]}
        reader.assign({partition: begins[partition] for partition in left})
        while left:
            batch = reader.poll_batch(READ_BATCH, READ_TIMEOUT_SECONDS)
            for partition, offset, value in zip(
                batch.partitions.tolist(), batch.offsets.tolist(), batch.values, strict=True
            ):
                if offset < ends[partition] and value is not None:
                    yield partition, offset, value
            # A transaction's end marker is an offset without a record: the position tells, not the last record.
            left = {partition for partition in left if reader.positions()[partition] < ends[partition]}


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
