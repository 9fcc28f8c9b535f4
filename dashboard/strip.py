"""Notices what changed between two ticks, in words for the event strip; must not know how it was found out."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from checkpointing.control import Decision
from checkpointing.manifest import Manifest
from dashboard.targets import Answer

# A process that first answers later than this after the page's start was started, not just found.
FOUND_MS: Final = 5_000
# A replica must be over the objective for so many ticks before the strip says so.
STEADY_TICKS: Final = 3

Happening = tuple[str, str]  # kind and text


class Watcher:
    """Remembers the last tick.

    Args:
        started_ms: When the page began to look.
        slo_ms: How far a replica may be behind.
    """

    def __init__(self, started_ms: int, slo_ms: int) -> None:
        self._started_ms = started_ms
        self._slo_ms = slo_ms
        self._up: dict[str, bool] = {}
        self._down_since: dict[str, int] = {}
        self._job_state: str | None = None
        self._over: dict[str, int] = {}
        self._troubles: dict[str, str] = {}

    def processes(self, answers: Iterable[Answer], now_ms: int) -> list[Happening]:
        """Processes that came or went, and the join's job."""
        found: list[Happening] = []
        for answer in answers:
            name = answer.role if answer.role != "replica" else answer.name
            was_up = self._up.get(answer.url)
            if was_up is True and not answer.up:
                self._down_since[answer.url] = answer.since_ms
                found.append(("down", f"{name} does not answer"))
            elif answer.up and not was_up:
                down_since = self._down_since.pop(answer.url, None)
                if down_since is not None:
                    found.append(("up", f"{name} answers again after {max(0, now_ms - down_since) // 1000} s"))
                elif now_ms - self._started_ms > FOUND_MS:
                    found.append(("up", f"{name} answers"))
            if answer.up or was_up is not None:
                self._up[answer.url] = answer.up
            if answer.role == "join" and answer.up:
                state = str(answer.status.get("job_state") or "")
                if state and self._job_state is not None and state != self._job_state:
                    found.append(("up" if state == "RUNNING" else "down", f"join's job is {state}"))
                self._job_state = state or self._job_state
        return found

    def gone(self, url: str) -> list[Happening]:
        """A process that is listed no longer, as after a service has been made smaller."""
        self._down_since.pop(url, None)
        was_up = self._up.pop(url, None)
        return [] if was_up is None else [("down", f"{url.partition('://')[2]} is listed no longer")]

    def versions(self, manifests: Iterable[Manifest]) -> list[Happening]:
        """Take-overs, reverts and refusals."""
        found: list[Happening] = []
        for manifest in manifests:
            if manifest.kind == "claim":
                found.append(("claim", f"learner took over at version {manifest.version}, epoch {manifest.epoch}"))
            elif manifest.kind == "revert":
                back = f"went back to version {manifest.base_ref}" if manifest.base_ref else "began a new pipeline"
                found.append(("revert", f"version {manifest.version} {back}"))
            if manifest.changes and not manifest.gate.servable:
                reasons = "; ".join(manifest.gate.reasons) or "no reason given"
                found.append(("refused", f"version {manifest.version} refused: {reasons}"))
        return found

    def decisions(self, entries: Iterable[Decision]) -> list[Happening]:
        """What people decided, in the log's own words."""
        found: list[Happening] = []
        for entry in entries:
            if entry.kind == "forget":
                text = f"{entry.who} had {len(entry.keys)} keys forgotten"  # which ones is nobody's business here
            else:
                about = "" if entry.version is None else f" version {entry.version}"
                text = f"{entry.who}: {entry.kind}{about}" + (f", {entry.why}" if entry.why else "")
            found.append(("decision", text))
        return found

    def behind(self, behind_ms: Mapping[str, int]) -> list[Happening]:
        """Replicas that left the objective or came back to it."""
        found: list[Happening] = []
        for name, length in behind_ms.items():
            over = self._over.get(name, 0)
            if length > self._slo_ms:
                self._over[name] = over + 1
                if over + 1 == STEADY_TICKS:
                    found.append(("behind", f"{name} behind more than {self._slo_ms / 1000:g} s"))
            elif over:
                del self._over[name]
                if over >= STEADY_TICKS:
                    found.append(("up", f"{name} caught up after {over} s over the objective"))
        return found

    def troubles(self, troubles: Mapping[str, str]) -> list[Happening]:
        """Sources that cannot be read, by name; said once per change."""
        found: list[Happening] = [
            ("down", f"cannot read {name}: {why}") for name, why in troubles.items() if name not in self._troubles
        ]
        found += [("up", f"{name} can be read again") for name in self._troubles if name not in troubles]
        self._troubles = dict(troubles)
        return found
