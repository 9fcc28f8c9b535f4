"""Follows the line of versions by number and hands out switches; must not know how a replica holds its rows."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from checkpointing import lease
from checkpointing.boundary import BoundaryLog
from checkpointing.content import ServingContent
from checkpointing.control import ControlWatch, Decision
from checkpointing.history import check_succession, manifests, newest_version, read_manifest
from checkpointing.lease import Lease, plan_held
from checkpointing.manifest import Manifest
from checkpointing.servable import newest_servable, pinned_but_refused
from checkpointing.switching import Broken, Loader
from checkpointing.update import Update
from infra.clock import Clock
from infra.errors import Corrupt, Invalid, Unavailable
from infra.object_store import ObjectStore

# A wrong file is tried again this often; a wrong manifest at every poll, which costs what a poll costs.
RETRY_AFTER_S: Final = 1.0
# Manifests read in one poll at most, so that a replica far behind switches on its way; and reported after a start.
MOST_STEPS: Final = 256
# Refused versions that wait for a servable one; beyond this it is cheaper to begin with a base.
MOST_AHEAD: Final = 1024


class Follower:
    """The reading side of a replica; for one thread.

    The first poll that finds versions folds up to the newest servable one and hands out a full switch. Each later poll
    gets manifest N + 1 by its number until there is none, and hands out one switch to the newest servable version among
    them. Where a manifest or file is wrong, the follower stays where it is, or goes as far as good files reach, reports
    the problem once, and tries again: it heals by itself when the object does, or when the line reverts past it.

    A pin in the control log leads to that version, and the end of the pin back to the newest, each by a full switch, or
    by none where ``keeps`` says of a version that the replica has it still.
    """

    def __init__(
        self, store: ObjectStore, model: str, clock: Clock, keeps: Callable[[int], bool] = lambda version: False
    ) -> None:
        self._keeps = keeps
        self._store = store
        self._model = model
        self._clock = clock
        self._control = ControlWatch(store, model, clock)
        self._boundaries = BoundaryLog(store)
        self._promoted: frozenset[int] = frozenset()  # by decision, when `_goal` was found
        self._looked = False
        self._seen: Manifest | None = None
        self._heard = 0.0
        self._version = 0
        # The newest servable version known when there was nothing to extend: at the start, and when a pin ends.
        self._goal = 0
        # What can change a replica since its version, for every version after `_covered`.
        self._ahead: list[Manifest] = []
        self._covered = 0
        self._detached = False  # while a version is pinned, what follows it is not kept in `_ahead`
        self._unreported: deque[Manifest] = deque()
        self._loader = Loader(store)
        self._problem: Corrupt | Invalid | None = None
        self._not_before = 0.0
        self._refused: set[int] = set()

    @property
    def passed_over(self) -> int:
        """The newest version of which :meth:`refused` told; 0 where there is none."""
        return max(self._refused, default=0)

    def refused(self, version: int) -> None:
        """Who has nothing cannot use ``version``, just handed out: an older one is looked for, unless it is pinned."""
        if not self._detached:
            self._refused.add(version)
            self._version, self._goal = 0, version

    @property
    def version(self) -> int:
        """The version last handed out; 0 before the first."""
        return self._version

    @property
    def seen(self) -> int:
        """The newest version whose manifest was read; 0 before the first."""
        return self._seen.version if self._seen else 0

    @property
    def problem(self) -> Corrupt | Invalid | None:
        """What keeps the follower on its version now; None where nothing does."""
        return self._problem or self._control.problem

    @property
    def pin(self) -> Decision | None:
        """The decision that holds replicas on a version; None where they follow the newest."""
        return self._control.decisions.pin

    def poll(self) -> Update:
        """Looks once for newer versions and decisions.

        Raises:
            Unavailable: The store does not answer; nothing is lost, poll again.
        """
        known = self.problem
        problem: Corrupt | Invalid | None = None
        due = self._clock.monotonic() >= self._not_before
        read = len(self._unreported)
        found: ServingContent | int | None = None
        decided = self._control.look()
        try:
            if self._looked:
                self._step()
            elif due:
                self._start()
        except (Corrupt, Invalid) as error:
            problem = error
        if due or decided or len(self._unreported) > read:
            found, broken = self._switch()
            problem = problem or broken
            if problem is not None:
                self._not_before = self._clock.monotonic() + RETRY_AFTER_S
        else:
            problem = problem or self._problem  # what was wrong is not due for another look
        self._problem = problem
        reported = tuple(self._unreported)
        self._unreported.clear()
        news = self.problem if self.problem is not None and str(self.problem) != str(known) else None
        return Update(reported, None, news, found) if isinstance(found, int) else Update(reported, found, news)

    def _servable(self, manifest: Manifest) -> bool:
        return manifest.gate.servable or manifest.version in self._control.decisions.promoted

    def _start(self) -> None:
        """Finds the newest servable version; the only lists are here."""
        newest = newest_version(self._store)
        if newest is not None:
            tail: deque[Manifest] = deque(maxlen=MOST_STEPS)
            promoted = self._control.decisions.promoted
            goal = newest_servable(self._store, self._model, newest, promoted, tail.appendleft)
            self._seen = read_manifest(self._store, self._model, newest)
            self._unreported.extend(tail)
            self._goal, self._promoted = goal or 0, promoted
            self._covered = newest
        self._looked = True

    def _step(self) -> None:
        """Reads manifests by number, up to the newest."""
        for _ in range(MOST_STEPS):
            manifest = read_manifest(self._store, self._model, self.seen + 1)
            if manifest is None:
                self._start_over_if_collected()
                return
            self._heard = self._clock.monotonic()
            if self._seen is not None:
                check_succession(self._seen, manifest)
            self._seen = manifest.for_folding()
            self._unreported.append(manifest)
            if manifest.changes and not self._detached:
                self._ahead.append(self._seen)

    def _start_over_if_collected(self) -> None:
        """One that was away for long may wait for a number that came and went; one with nothing asks at once."""
        now = self._clock.monotonic()
        if self.seen and (self._version == 0 or now - self._heard > lease.GRACE_S / 4):
            self._heard = now
            if self._boundaries.has_passed(self.seen + 1):
                self._looked = False
                self._ahead.clear()
                self._start()

    def _switch(self) -> tuple[ServingContent | int | None, Corrupt | Invalid | None]:
        """The switch to the newest version that may answer and whose files are good, and what was wrong with newer.

        In place of a switch the number of a version that the replica has still.
        """
        pin = self.pin
        try:
            if pin is not None:
                return self._to_pinned(pin.version or 0)
            if self._detached or (self._covered > self._version and self._promoted != self._control.decisions.promoted):
                self._reattach()
        except (Corrupt, Invalid) as error:
            return None, error
        servable = [one for one in self._ahead if self._servable(one) and one.version not in self._refused]
        if self._version > 0 and self._covered <= self._version and len(self._ahead) <= MOST_AHEAD:
            return self._extend(servable)
        self._goal = servable[-1].version if servable else self._goal
        if len(self._ahead) > MOST_AHEAD:
            self._look_away()
        if self._goal in (0, self._version):
            return None, None
        if self._keeps(self._goal):
            return self._goal, self._arrive(self._goal)
        return self._to(self._goal)

    def _extend(self, servable: list[Manifest]) -> tuple[ServingContent | None, Corrupt | Invalid | None]:
        """The switch that adds what is ahead to what the replica has."""
        problem: Corrupt | Invalid | None = None
        broken: set[int] = set()
        for target in reversed(servable):
            links = [manifest for manifest in self._ahead if manifest.version <= target.version]
            if any(link.kind != "delta" for link in links):
                switch, found = self._to(target.version, exactly=True)
                if switch is not None:
                    return switch, problem or found
                problem = problem or found
                continue
            if broken.intersection(link.version for link in links):
                continue
            try:
                switch = self._loader.load(target, links, full=False)
            except Broken as error:
                if self._boundaries.has_passed(error.version):
                    return self._to(target.version)  # collected while nothing servable followed: begin with a base
                broken.add(error.version)
                problem = problem or error.problem
                continue
            self._version = target.version
            self._ahead = [manifest for manifest in self._ahead if manifest.version > target.version]
            return switch, problem
        return None, problem

    def _to(self, goal: int, *, exactly: bool = False) -> tuple[ServingContent | None, Corrupt | Invalid | None]:
        """The full switch to ``goal``, or if need be to the newest servable version before it whose files are good."""
        problem: Corrupt | Invalid | None = None
        without: set[int] = set()
        target = goal
        with Lease(self._store, "follower", self._clock) as held:
            while target > 0:
                try:
                    chain = plan_held(self._store, self._model, target, held, without=without)
                except (Corrupt, Invalid) as error:
                    return None, problem or error
                promoted = self._control.decisions.promoted
                if target in self._refused:
                    before = chain.servable_before(target, promoted)
                    if before > 0 or chain.base is None:
                        target = self._goal = before
                    else:
                        without.add(chain.base.version)  # the way from an older base shows older versions
                    continue
                try:
                    switch = self._loader.load(chain.manifest, chain.links, full=True, step=held.renew)
                except Broken as error:
                    problem = problem or error.problem
                    if chain.base is not None and error.version == chain.base.version:
                        without.add(chain.base.version)
                    else:
                        target = 0 if exactly else chain.servable_before(error.version, promoted)
                    continue
                return switch, problem or self._arrive(target)
        return None, problem

    def _arrive(self, version: int) -> Corrupt | Invalid | None:
        """The replica has ``version``; returns what is wrong with the line after it."""
        self._version, self._goal = version, 0
        self._ahead = [manifest for manifest in self._ahead if manifest.version > version]
        if self._detached or version >= self._covered:
            return None
        problem = None
        try:
            if self.seen - version <= MOST_AHEAD and not self._boundaries.has_passed(version + 1):
                line = manifests(self._store, self._model, version + 1, self.seen)
                self._ahead = [manifest.for_folding() for manifest in line if manifest.changes]
                self._covered = version
                return None
        except (Corrupt, Invalid) as error:
            problem = error
        except Unavailable:
            pass  # the switch is good, and must not be lost
        self._look_away()
        return problem

    def _look_away(self) -> None:
        """The next servable version is reached by a full switch: what lies before it need not be known."""
        self._ahead.clear()
        self._covered = self.seen

    def _to_pinned(self, version: int) -> tuple[ServingContent | int | None, Corrupt | Invalid | None]:
        self._detached = True
        self._ahead.clear()
        if self._version == version:
            return None, None
        if self._keeps(version):
            self._version = version
            return version, None
        with Lease(self._store, "follower", self._clock) as held:
            chain = plan_held(self._store, self._model, version, held, pinned=True)
            if not self._servable(chain.manifest):
                raise pinned_but_refused(chain.manifest, self._store.url)
            try:
                switch = self._loader.load(chain.manifest, chain.links, full=True, step=held.renew)
            except Broken as error:
                return None, error.problem
        self._version = version
        return switch, None

    def _reattach(self) -> None:
        """After a pin, or where one that was not kept is promoted: what is newest now is found as at a start."""
        promoted = self._control.decisions.promoted
        goal = newest_servable(self._store, self._model, self.seen, promoted) or 0 if self.seen else 0
        self._look_away()
        self._detached, self._promoted = False, promoted
        if goal == self._version > 0:
            self._arrive(goal)
        else:
            self._goal = goal
