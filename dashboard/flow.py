"""How fast events and samples flow, and what became of them in the last minute; must not know where they were read."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from dashboard.counts import WINDOW_S, SecondCounts
from streaming import sample, topics

_ORPHAN, _LATE_IMPRESSION, _REPEAT = topics.LATE_REASONS
_MINUTE: Final = {
    "feedback": "feedback",
    "clicks": sample.CLICK,
    "timeouts": sample.TIMEOUT,
    "corrections": sample.CORRECTED,
    "orphans": _ORPHAN,
    "late_impressions": _LATE_IMPRESSION,
    "repeats": _REPEAT,
    "dead": "dead",
}


class Flow:
    """Counts from Kafka, and the learner's own totals."""

    def __init__(self) -> None:
        self._counts = SecondCounts()
        self._trained: deque[tuple[int, int, int]] = deque(maxlen=WINDOW_S + 1)  # time, samples, repeats

    def count(self, counted: Mapping[tuple[str, int], int]) -> None:
        """Takes how many of each name came in each second of Kafka time."""
        for (name, second), number in counted.items():
            self._counts.add(name, second * 1000, number)

    def trained(self, now_ms: int, samples: int, repeats: int) -> None:
        """Takes the learner's totals: samples trained, and repeats that it dropped."""
        if self._trained and samples < self._trained[-1][1]:
            self._trained.clear()  # a new learner counts from its own start
        self._trained.append((now_ms, samples, repeats))

    def rates(self, now_ms: int) -> dict[str, float | None]:
        """Records per second: joined samples, feedback, and samples trained."""
        trained: float | None = None
        if len(self._trained) > 1:
            (before, had, _), (after, has, _) = self._trained[-2], self._trained[-1]
            trained = round((has - had) * 1000 / (after - before), 1) if after > before else None
        return {
            "joined": self._counts.per_second("samples", now_ms),
            "feedback": self._counts.per_second("feedback", now_ms),
            "trained": trained,
        }

    def minute(self, now_ms: int) -> dict[str, Any]:
        """What the join said in the last minute, and how many repeats the learner dropped; None where unknown."""
        counts = self._counts.minute(now_ms)
        repeats = self._trained[-1][2] - self._trained[0][2] if self._trained else None
        return {name: counts[counted] for name, counted in _MINUTE.items()} | {"duplicates": repeats}
