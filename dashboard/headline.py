"""Makes the one figure of the page from what each replica has not learned; must not judge it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from dashboard.measurement import Measurement
from dashboard.past import quantile
from dashboard.targets import Answer
from dashboard.versions import VersionLog

MINUTE_TICKS: Final = 60


class Headline:
    """The worst replica's figure, and its course over the last minute. For one thread."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=MINUTE_TICKS)

    def section(
        self, measured: Measurement, replicas: Sequence[Answer], log: VersionLog, now_ms: int, *, readable: bool
    ) -> dict[str, Any]:
        """What the page's head says.

        Args:
            measured: How far each replica is behind.
            replicas: Those that are listed; where there are none, the newest version is measured.
            log: The newest versions.
            now_ms: The time of the tick.
            readable: Whether Kafka answers; nothing is known while it does not.
        """
        up = [answer.name for answer in replicas if answer.up]
        names = up or [answer.name for answer in replicas]
        candidates = [measured.replicas[name] for name in names if name in measured.replicas]
        if not replicas:
            candidates = [measured.committed]
        worst = max(candidates, key=lambda behind: behind.ms(now_ms), default=None)
        if log.newest is None or not readable:
            worst = None
        length = worst.ms(now_ms) if worst is not None else None
        if length is not None and not measured.idle:
            self._recent.append(length)
        recent = sorted(float(value) for value in self._recent)
        version = _served(replicas, log)
        manifest = log.get(version) if version else None
        return {
            "behind_ms": length,
            "oldest_received_ts": worst.oldest_received_ms if worst is not None else None,
            "waiting_for": worst.waiting_for if worst is not None else None,
            "idle": measured.idle,
            "p50_ms": quantile(recent, 0.5) if recent else None,
            "p99_ms": quantile(recent, 0.99) if recent else None,
            "version": version,
            "label_ts": manifest.newest_known_ts if manifest else None,
            "last_feedback_ts": measured.last_feedback_ms,
            "waiting_for_join": measured.waiting_for_join,
            "waiting_for_learner": measured.waiting_for_learner,
            "followed_share": measured.followed_share,
        }


def _served(replicas: Sequence[Answer], log: VersionLog) -> int | None:
    """The oldest version that a replica answers from; the newest of all where no replica is listed."""
    if not replicas:
        return log.newest.version if log.newest is not None else None
    return min((v for a in replicas if a.up and isinstance(v := a.status.get("version"), int)), default=None)
