"""Follows which versions each replica has applied, as far as their manifests are known; must not ask anyone."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from itertools import takewhile
from typing import Any

from dashboard.stages import STAGES, StageWindow, Timeline
from dashboard.versions import VersionLog, committed_ms


def newest_first(status: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Version and time of each switch in a replica's `/status`; what another program put there is left out.

    A replica tells of its last hundreds: who asks every second looks at the newest and stops.
    """
    entries = status.get("applied")
    for entry in reversed(entries) if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            version, applied_ms = entry.get("version"), entry.get("applied_ts")
            if isinstance(version, int) and isinstance(applied_ms, int):
                yield version, applied_ms


class AppliedVersions:
    """The newest timeline of each replica, and all timelines of the last minute."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._newest: dict[str, Timeline] = {}
        self._window = StageWindow()
        self._fresh: list[Timeline] = []

    def take(self, replica: str, status: Mapping[str, Any], log: VersionLog) -> None:
        """Takes a replica's applied versions, oldest first; what was taken before is left out."""
        last = next(newest_first(status), None)
        seen = self._seen.get(replica, 0)
        newest = log.newest
        if last is not None and last[0] < seen:
            seen = 0  # the replica went back
        fresh = list(takewhile(lambda switch: switch[0] > seen, newest_first(status)))
        for version, applied_ms in reversed(fresh):
            if newest is None or version > newest.version:
                break  # its manifest comes with a later tick
            seen = version
            manifest = log.get(version)
            if manifest is None:
                continue
            line = manifest.timeline
            moments = (line.received_ts, line.sampled_ts, line.trained_ts, committed_ms(manifest))
            timeline = Timeline.of(version, replica, (*moments, applied_ms))
            if timeline is not None:
                self._window.add(timeline)
                self._newest[replica] = timeline
                self._fresh.append(timeline)
        self._seen[replica] = seen

    def forget(self, replica: str) -> None:
        """Leaves a replica out from now on."""
        self._seen.pop(replica, None)
        self._newest.pop(replica, None)

    def longest_new(self) -> dict[str, int]:
        """The longest of each stage since the last call, milliseconds."""
        longest: dict[str, int] = {}
        for timeline in self._fresh:
            for stage, length in timeline.stages_ms.items():
                longest[stage] = max(longest.get(stage, 0), length)
        self._fresh = []
        return longest

    def waterfall(self, up: Set[str], now_ms: int) -> dict[str, Any] | None:
        """The timeline of the replica of ``up`` that is the least far; of several, of the one that was last.

        None where no version with feedback has been applied.
        """
        lines = [line for name, line in self._newest.items() if name in up] or list(self._newest.values())
        if not lines:
            return None
        line = min(lines, key=lambda timeline: (timeline.version, -timeline.moments[-1]))
        whiskers = self._window.whiskers(now_ms)
        return {
            "version": line.version,
            "replica": line.replica,
            "received_ts": line.moments[0],
            "applied_ts": line.moments[-1],
            "stages_ms": [line.stages_ms[stage] for stage in STAGES],
            "p50_ms": [whiskers[stage][0] for stage in STAGES] if whiskers else None,
            "p99_ms": [whiskers[stage][1] for stage in STAGES] if whiskers else None,
        }
