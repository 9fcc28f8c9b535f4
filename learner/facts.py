"""What a manifest will say about the samples trained since the last capture; must not know rows, weights or stores."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from checkpointing.content import Run
from checkpointing.manifest import Probe, Timeline
from infra.clock import Clock
from learner.decode import Samples, is_feedback, join_keys
from streaming.topics import PROBE_PREFIX

# Upper edges of the age of a label when it was trained; the last bin is open.
LABEL_AGE_EDGES_MS = (100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 600_000, 3_600_000, 86_400_000)

# A partition that brought nothing for so long no longer holds back `learned_through`.
_IDLE_MS = 10_000


@dataclass(frozen=True)
class Facts:
    """The facts of one version, as its manifest carries them."""

    batches: list[list[Run]]
    learned_through: int | None
    newest_known_ts: int | None
    label_histogram: dict[str, Any]
    probes: list[Probe]
    timeline: Timeline


@dataclass
class _Pending:
    batches: list[list[Run]] = field(default_factory=list)
    runs: int = 0
    ages: Any = field(default_factory=lambda: np.zeros(len(LABEL_AGE_EDGES_MS) + 1, np.int64))
    probes: list[Probe] = field(default_factory=list)
    oldest: tuple[int, int, int] | None = None


class FactsRecorder:
    """Collects the facts between two captures.

    Args:
        clock: The wall clock, for ``trained_ts``.
        learned_through: As of the version restored.
        newest_known_ts: As of the version restored.
    """

    def __init__(self, clock: Clock, learned_through: int | None = None, newest_known_ts: int | None = None) -> None:
        self._clock = clock
        self._pending = _Pending()
        self._learned_through = learned_through
        self._newest_known_ts = newest_known_ts
        self._newest_by_partition: dict[int, tuple[int, int]] = {}

    @property
    def batches(self) -> int:
        """How many batches the next version holds so far."""
        return len(self._pending.batches)

    @property
    def runs(self) -> int:
        """How many runs of offsets those batches are made of; a manifest's size grows with them."""
        return self._pending.runs

    def batch(self, runs: list[Run]) -> None:
        """Counts a batch as learned, whether or not a sample in it was new."""
        self._pending.batches.append(runs)
        self._pending.runs += len(runs)

    def trained(self, samples: Samples, partitions: Any, sampled_ms: Any) -> None:
        """Takes note of samples that were just learned.

        Args:
            samples: Probes included, duplicates not.
            partitions: ``[n]`` int64, where each sample came from.
            sampled_ms: ``[n]`` int64, Kafka's timestamp of each sample.
        """
        if not len(samples):
            return
        now = self._clock.now_ms()
        pending = self._pending
        ages = np.maximum(now - samples.known_ms, 0)
        pending.ages += np.bincount(np.searchsorted(LABEL_AGE_EDGES_MS, ages), minlength=len(pending.ages))
        for partition in np.unique(partitions).tolist():
            newest = int(samples.known_ms[partitions == partition].max())
            before = self._newest_by_partition.get(partition, (newest, now))[0]
            self._newest_by_partition[partition] = (max(newest, before), now)
        largest = int(samples.known_ms.max())
        if self._newest_known_ts is None or largest > self._newest_known_ts:
            self._newest_known_ts = largest
        feedback = np.flatnonzero(is_feedback(samples.kinds))
        if len(feedback):
            first = int(feedback[np.argmin(samples.received_ms[feedback])])
            candidate = (int(samples.received_ms[first]), int(sampled_ms[first]), now)
            if pending.oldest is None or candidate < pending.oldest:
                pending.oldest = candidate
        self._probes(samples, sampled_ms, now)

    def _probes(self, samples: Samples, sampled_ms: Any, now: int) -> None:
        starts = pc.starts_with(samples.sample_ids, PROBE_PREFIX)
        for row in np.flatnonzero(starts.to_numpy(zero_copy_only=False)).tolist():
            key = join_keys(pa.array([samples.sample_ids[row].as_py()]))[0].as_py()
            self._pending.probes.append(
                Probe(
                    id=key,
                    received_ts=int(samples.received_ms[row]),
                    sampled_ts=int(sampled_ms[row]),
                    trained_ts=now,
                )
            )

    def take(self) -> Facts:
        """The facts since the last call."""
        taken, self._pending = self._pending, _Pending()
        now = self._clock.now_ms()
        active = [known for known, seen in self._newest_by_partition.values() if now - seen <= _IDLE_MS]
        if active and (self._learned_through is None or min(active) > self._learned_through):
            self._learned_through = min(active)
        oldest = taken.oldest
        return Facts(
            batches=taken.batches,
            learned_through=self._learned_through,
            newest_known_ts=self._newest_known_ts,
            label_histogram={"edges_ms": list(LABEL_AGE_EDGES_MS), "counts": taken.ages.tolist()},
            probes=taken.probes,
            timeline=Timeline()
            if oldest is None
            else Timeline(received_ts=oldest[0], sampled_ts=oldest[1], trained_ts=oldest[2], captured_ts=now),
        )
