"""Turns timelines of applied versions into the waterfall and its whiskers; knows no store and no replica's address."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.past import quantile

STAGES = ("event_to_sample", "sample_to_train", "train_to_commit", "commit_to_applied")
WHISKERS_MS = 60_000


@dataclass(frozen=True, slots=True)
class Timeline:
    """The way of the oldest feedback in one version into one replica, milliseconds since 1970.

    The moments never run backwards: what two clocks disagree about is given to the earlier stage, so that the stages
    always add up to the age.
    """

    version: int
    replica: str
    moments: tuple[int, int, int, int, int]  # received, sampled, trained, committed, applied

    @classmethod
    def of(
        cls, version: int, replica: str, moments: tuple[int | None, int | None, int | None, int | None, int]
    ) -> Timeline | None:
        """None where the version holds no feedback."""
        ascending: list[int] = []
        for moment in moments:
            if moment is None:
                return None
            ascending.append(max(moment, ascending[-1]) if ascending else moment)
        received, sampled, trained, committed, applied = ascending
        return cls(version, replica, (received, sampled, trained, committed, applied))

    @property
    def stages_ms(self) -> dict[str, int]:
        """Length of each stage."""
        return {
            stage: after - before for stage, before, after in zip(STAGES, self.moments, self.moments[1:], strict=False)
        }

    @property
    def age_ms(self) -> int:
        """From Kafka to the replica."""
        return self.moments[-1] - self.moments[0]


class StageWindow:
    """The timelines applied in the last minute."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, tuple[int, ...]]] = deque()  # when it was applied, and each stage's length

    def add(self, timeline: Timeline) -> None:
        """Takes one version applied by one replica."""
        self._recent.append((timeline.moments[-1], tuple(timeline.stages_ms.values())))

    def whiskers(self, now_ms: int) -> Mapping[str, tuple[int, int]]:
        """p50 and p99 of each stage, milliseconds, over the versions applied in the last minute; empty without any."""
        self._recent = deque(found for found in self._recent if found[0] > now_ms - WHISKERS_MS)
        by_stage = (sorted(map(float, lengths)) for lengths in zip(*(each for _, each in self._recent), strict=True))
        return {
            stage: (int(quantile(lengths, 0.5)), int(quantile(lengths, 0.99)))
            for stage, lengths in zip(STAGES, by_stage, strict=False)
        }
