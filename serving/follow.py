"""Keeps a replica on the newest good version, in a thread of its own; must not know protocols or requests."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from checkpointing.content import ServingContent
from checkpointing.control import Decision
from checkpointing.follower import Follower
from infra.backoff import Backoff, Stopped
from infra.clock import Clock
from infra.errors import Bug, Corrupt, Invalid, SpringtideError, Unavailable
from infra.logs import logger
from infra.metrics import Metrics
from serving.acceptance import Acceptance
from serving.snapshot import Switch, Version

# Two minutes at a version a second: who asks every second reads it anew each time.
KEPT_APPLIED: Final = 120
# Waiting longer than this for a store that came back would only cost freshness.
LONGEST_WAIT_S: Final = 1.0
# How long decisions may be kept waiting behind a version, where the next one is not due for long.
LONGEST_REST_S: Final = 0.25
# A version for which there is no room is kept, and tried again this often.
ROOM_AGAIN_AFTER_S: Final = 1.0
# After so long, or after a defect, the newest version is read once more from the start.
START_OVER_AFTER_S: Final = 10.0

_log = logger()


@dataclass(frozen=True)
class Applied:
    """One switch: which version, when it was committed and when it began to answer, milliseconds."""

    version: int
    committed_ts: int
    applied_ts: int


@dataclass(frozen=True)
class Trouble:
    """Why newer versions are not applied, and since when, milliseconds."""

    error: SpringtideError
    since_ts: int


class Following:
    """Polls the line of versions, and applies and publishes what is new.

    Whatever is wrong with a newer version or with the store, the version before goes on answering; the cause is logged
    once per change and stands in the metrics and in ``trouble``; and no person is needed once the cause is gone.
    """

    def __init__(
        self,
        *,
        follower: Callable[[], Follower],
        acceptance: Acceptance,
        switch: Switch,
        metrics: Metrics,
        clock: Clock,
        poll_interval_s: float,
        commit_interval_s: float = 0.0,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Sets up; :meth:`run` does the work.

        Args:
            follower: Makes a reader of the line that begins from nothing.
            acceptance: Judges versions.
            switch: Where versions are published.
            metrics: Of this process.
            clock: Passes the time.
            poll_interval_s: Seconds between two looks for a newer version.
            commit_interval_s: Seconds between two versions, as the learner has it: for half of that there is no look
                after a version, though decisions are not kept waiting for long.
            changed: Called when the version, or what keeps newer ones away, has changed.
        """
        self._make_follower = follower
        self._follower = follower()
        self._acceptance = acceptance
        self._switch = switch
        self._metrics = metrics
        self._clock = clock
        self._poll_interval_s = poll_interval_s
        self._after_version_s = max(poll_interval_s, min(commit_interval_s / 2, LONGEST_REST_S))
        self._changed = changed
        self._applied: deque[Applied] = deque(maxlen=KEPT_APPLIED)
        self._trouble: Trouble | None = None
        # What was logged last: it is no news when a silent store has been in between.
        self._told: str | None = None
        # Set while a switch was refused: what follows it extends a state that this replica does not have.
        self._gap: SpringtideError | None = None
        self._start_over_at: float | None = None
        # Good, but there was no room for it; nothing is read meanwhile, and it is tried again at that moment.
        self._waiting: tuple[ServingContent, float] | None = None
        # Why an older version than the newest was taken where there was none at all.
        self._passed_over: SpringtideError | None = None

    @property
    def applied(self) -> list[Applied]:
        """The last switches, oldest first."""
        return list(self._applied)

    @property
    def pin(self) -> Decision | None:
        """The decision that holds this replica on a version; None where it follows the newest."""
        return self._follower.pin

    @property
    def trouble(self) -> Trouble | None:
        """Why newer versions are not applied; None while they are."""
        return self._trouble

    def run(self, stop: threading.Event) -> None:
        """Follows until ``stop`` is set."""
        backoff = Backoff("read versions", clock=self._clock, stop=stop, longest=LONGEST_WAIT_S)
        while not stop.is_set():
            began = self._clock.monotonic()
            try:
                found = self.step()
            except Unavailable as error:
                self._metrics.inc("springtide_unavailable_total", dependency="store")
                self._note(error, silent=True)
                try:
                    backoff.failed(error)
                except Stopped:
                    return
                continue
            except Exception as error:  # noqa: BLE001 - the replica must go on answering, and this thread following
                self._refuse(Bug(f"following failed: {type(error).__name__}: {error}"), trace=error)
                self._clock.wait(stop, LONGEST_WAIT_S)
                continue
            backoff.succeeded()
            # Counted from when it was seen: what applying takes is rest enough.
            rest = self._after_version_s - (self._clock.monotonic() - began) if found else 0.0
            self._clock.wait(stop, max(self._poll_interval_s, rest))

    def step(self) -> bool:
        """Looks once for newer versions and switches to the newest good one; whether there was one, good or not.

        Raises:
            Unavailable: The store does not answer; call again.
        """
        if self._start_over_at is not None and self._clock.monotonic() >= self._start_over_at:
            self._start_over()
        if self._waiting is not None:
            content, again_at = self._waiting
            if self._clock.monotonic() < again_at:
                return False
            # What keeps newer ones away is this one, and nothing lies between it and the version that answers.
            self._waiting = self._gap = None
            self._take(content)
            if self._waiting is not None:
                return False
        update = self._follower.poll()
        self._metrics.set("springtide_replica_polled_timestamp_seconds", self._clock.now_ms() / 1000)
        if update.switch is not None:
            self._take(update.switch)
        elif update.kept is not None:
            self._go_back(update.kept)
        self._note(self._gap or self._passed_over or self._follower.problem)
        return update.switch is not None

    def _take(self, content: ServingContent) -> None:
        began = self._clock.monotonic()
        try:
            version = self._acceptance.accept(content, self._switch.tables)
            if self._gap is not None and not content.full:
                # This version is good, but extends one that was refused: read all of it, at the next step.
                self._start_over()
                return
            self._publish(version, content)
        except (MemoryError, OSError) as error:
            self._waiting = content, began + ROOM_AGAIN_AFTER_S
            self._refuse(_no_room(content.version, error), error)
            return
        except SpringtideError as error:
            self._refuse(error)
            if self._switch.version is None and isinstance(error, Corrupt | Invalid):
                # An older version is better than none.
                self._passed_over = error
                self._follower.refused(content.version)
            return
        self._gap = None
        if self._follower.passed_over < version.number:
            self._passed_over = None
        self._start_over_at = None
        self._metrics.observe("springtide_replica_apply_seconds", self._clock.monotonic() - began)
        self._record(
            Applied(version.number, version.committed_ts, self._clock.now_ms()),
            content.manifest.kind,
            full=content.full,
        )
        # What is not compacted is only slower; the next version tries again.
        with contextlib.suppress(MemoryError, OSError):
            self._switch.settle()
            self._metrics.set("springtide_replica_memory_bytes", self._switch.memory_bytes())

    def _go_back(self, number: int) -> None:
        version = self._switch.go_back(number)
        self._gap = self._start_over_at = None
        self._record(Applied(number, version.committed_ts, self._clock.now_ms()), "kept", full=True)

    def _publish(self, version: Version, content: ServingContent) -> None:
        try:
            self._switch.publish(version, content.tables, replaces_all=content.full)
        except (KeyError, ValueError) as error:
            raise Corrupt(f"the rows of version {content.version} do not fit their tables: {error}") from error

    def _start_over(self) -> None:
        self._follower = self._make_follower()
        self._passed_over = None
        self._start_over_at = None
        self._waiting = None

    def _refuse(self, error: SpringtideError, trace: BaseException | None = None) -> None:
        """Keeps the version before; what cannot be the version's own fault is tried again."""
        self._gap = error
        # Once set it stays: what fails at every step would put it off for ever.
        if isinstance(error, Bug | Unavailable) and self._start_over_at is None:
            self._start_over_at = self._clock.monotonic() + START_OVER_AFTER_S
        self._note(error, trace)

    def _note(self, error: SpringtideError | None, trace: BaseException | None = None, *, silent: bool = False) -> None:
        before = self._trouble
        if error is None:
            if before is not None:
                self._trouble = self._told = None
                self._metrics.set("springtide_replica_stuck_since_timestamp_seconds", 0)
                seconds = round((self._clock.now_ms() - before.since_ts) / 1000, 1)
                _log.info("versions_accepted_again", after_seconds=seconds, version=self._number())
                self._changed()
            return
        if before is not None and str(before.error) == str(error):
            return
        since = self._clock.now_ms() if before is None else before.since_ts
        self._trouble = Trouble(error, since)
        self._metrics.set("springtide_replica_stuck_since_timestamp_seconds", since / 1000)
        if not silent and str(error) != self._told:  # a silent store is told by the backoff
            self._told = str(error)
            if isinstance(error, Corrupt):
                self._metrics.inc("springtide_replica_corrupt_total")
            _log.error("version_refused", error=trace or error, reason=str(error), serving_version=self._number())
        self._changed()

    def _number(self) -> int | None:
        version = self._switch.version
        return None if version is None else version.number

    def _record(self, applied: Applied, kind: str, *, full: bool) -> None:
        if not self._applied:
            _log.info("replica_ready", version=applied.version)
        self._applied.append(applied)
        metrics: Any = self._metrics
        metrics.set("springtide_ready", 1)
        metrics.set("springtide_replica_version", applied.version)
        metrics.set("springtide_replica_version_committed_timestamp_seconds", applied.committed_ts / 1000)
        metrics.set("springtide_replica_applied_timestamp_seconds", applied.applied_ts / 1000)
        metrics.inc("springtide_replica_applied_total", kind=kind)
        if not full:
            # After a start the version's age says nothing about this replica.
            late = max(0.0, (applied.applied_ts - applied.committed_ts) / 1000)
            metrics.observe("springtide_commit_to_applied_seconds", late)
        for table, rows in self._switch.row_counts().items():
            metrics.set("springtide_replica_rows", rows, table=table)
        metrics.set("springtide_replica_memory_bytes", self._switch.memory_bytes())
        self._changed()


def _no_room(version: int, error: MemoryError | OSError) -> Unavailable:
    if isinstance(error, MemoryError):
        return Unavailable(f"no memory for version {version}", cure="give the replica more")
    return Unavailable(
        f"the system has no room for version {version}: {error}", cure="raise the limit of open files, or of their size"
    )
