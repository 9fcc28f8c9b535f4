"""Counts what happened in each second of the last minute; must not know what is counted."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

WINDOW_S = 60


class SecondCounts:
    """Counters by name and second, for one minute and a little more."""

    def __init__(self) -> None:
        self._seconds: dict[int, Counter[str]] = {}

    def add(self, name: str, t_ms: int, count: int = 1) -> None:
        """Counts ``count`` things that happened at ``t_ms``."""
        counts = self._seconds.get(t_ms // 1000)
        if counts is None:
            counts = self._seconds[t_ms // 1000] = Counter()
        counts[name] += count

    def minute(self, now_ms: int) -> Counter[str]:
        """Totals of the last minute."""
        now = now_ms // 1000
        for second in [s for s in self._seconds if s <= now - 2 * WINDOW_S]:
            del self._seconds[second]
        total: Counter[str] = Counter()
        for second, counts in self._seconds.items():
            if now - WINDOW_S < second <= now:
                for name, count in counts.items():  # `update` would ask each time what it was given
                    total[name] += count
        return total

    def per_second(self, name: str, now_ms: int) -> int:
        """Of the newest second that is over."""
        return self._seconds.get(now_ms // 1000 - 1, Counter())[name]
