"""Counts what was sent against what was learned: nothing lost, nothing doubled; trusts no process's own counters."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from checkpointing.history import manifests
from checkpointing.manifest import Manifest
from checkpointing.quality import Quality
from infra.clock import Clock
from infra.object_store import ObjectStore
from infra.spec import Pipeline
from springtide.outcomes import Outcomes
from streaming import topics
from streaming.topic_tail import TopicTail

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Reckoning:
    """One count of everything, from the topics and the manifests themselves.

    Attributes:
        impressions: Well-formed impressions sent, probes not among them.
        clicks: Clicks sent, one at most on each impression.
        decided: Impressions with an outcome: a verdict, or too late for one.
        answered: Clicks with an outcome: a sample, or an orphan.
        late: Impressions that came too late for a verdict.
        orphans: Clicks that found no impression.
        dead: Events that could not be read, by topic, each place counted once.
        samples: Different sample ids in the topic: verdicts and corrections, probes among them.
        repeated: Records that repeat a sample id, as at-least-once delivery may.
        trained: Samples learned, by the sums in the manifests.
        uncovered: Records of the topic that no batch of any manifest holds, or that two hold.
        versions: Manifests.
        quality: Progressive quality over all versions.
    """

    impressions: int
    clicks: int
    decided: int
    answered: int
    late: int
    orphans: int
    dead: Mapping[str, int]
    samples: int
    repeated: int
    trained: int
    uncovered: int
    versions: int
    quality: Quality

    @property
    def lost_impressions(self) -> int:
        """Impressions without any outcome. A well-formed one never ends as a dead letter, so none makes up for it."""
        return max(0, self.impressions - self.decided)

    @property
    def lost_clicks(self) -> int:
        """Clicks that became neither a sample nor an orphan."""
        return max(0, self.clicks - self.answered)

    @property
    def missed(self) -> int:
        """Samples of the topic that were never learned."""
        return max(0, self.samples - self.trained)

    @property
    def lost(self) -> int:
        """Everything that got lost on the way."""
        return self.lost_impressions + self.lost_clicks + self.missed

    @property
    def doubled(self) -> int:
        """Samples learned more than once. The sums of the manifests do not tell which: what is missed elsewhere hides
        as many here, unless :attr:`uncovered` shows them."""
        return max(0, self.trained - self.samples)

    @property
    def unsent(self) -> int:
        """Outcomes of more events than were sent: each could hide a loss."""
        return max(0, self.decided - self.impressions) + max(0, self.answered - self.clicks)

    @property
    def right(self) -> bool:
        """Whether everything sent has its outcome and every sample was learned exactly once."""
        return not (self.lost or self.doubled or self.uncovered or self.unsent)


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
        self._outcomes = Outcomes()
        self._ends: dict[int, int] = {}
        self._quality = Quality()
        self._tails = [
            TopicTail(pipeline.kafka, topic, group="springtide-reckoning")
            for topic in (topics.samples_of(pipeline), topics.late_of(pipeline), topics.dead_of(pipeline))
        ]

    def count(self, *, impressions: int, clicks: int) -> Reckoning:
        """The count as of now.

        Args:
            impressions: How many well-formed impressions were sent, each with a key of its own; probes do not count.
            clicks: How many clicks were sent, each on another impression.
        """
        # Manifests first: what they hold stands in the topic already, so that nothing seems learned twice.
        first = len(self._line) + 1
        for manifest in manifests(self._store, self._pipeline.name, first):
            self._line.append(manifest)
            for bucket in manifest.metrics.values():
                self._quality.add(Quality.from_json(bucket))  # type: ignore[arg-type]
        samples, late, dead = self._tails
        found = self._outcomes
        for partition, offset, _, value in samples.read():
            found.add_sample(value)
            self._ends[partition] = offset + 1
        for *_, value in late.read():
            found.add_late(value)
        for *_, value in dead.read():
            found.add_dead(value)
        return Reckoning(
            impressions=impressions,
            clicks=clicks,
            decided=found.decided,
            answered=found.answered,
            late=len(found.late),
            orphans=len(found.orphans),
            dead={topic: len(places) for topic, places in found.dead.items()},
            samples=len(found.samples),
            repeated=found.samples.total() - len(found.samples),
            trained=self._quality.samples,
            uncovered=uncovered(self._line, self._ends),
            versions=len(self._line),
            quality=self._quality,
        )

    def settle(
        self, *, impressions: int, clicks: int, clock: Clock, seconds: float, alive: Callable[[], bool]
    ) -> Reckoning:
        """Counts until everything sent has an outcome that a version holds, or ``seconds`` have passed.

        Args:
            impressions: How many were sent.
            clicks: How many were sent.
            clock: The clock.
            seconds: How long to wait at most.
            alive: Asked between two counts; False ends the waiting.
        """
        deadline = clock.monotonic() + seconds
        while True:
            counted = self.count(impressions=impressions, clicks=clicks)
            if counted.right or clock.monotonic() > deadline or not alive():
                return counted
            clock.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Ends the readers."""
        for tail in self._tails:
            tail.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def uncovered(line: Iterable[Manifest], ends: Mapping[int, int]) -> int:
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
