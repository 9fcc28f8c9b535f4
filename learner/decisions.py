"""What people decided, as the learner sees it, and what of it is still to do; must not know how any of it is done."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

from checkpointing import paths
from checkpointing.control import CONTROL_EVERY_S, ControlWatch, Decision, Decisions
from infra.clock import Clock, iso
from infra.errors import Unavailable
from infra.logs import logger
from infra.object_store import ObjectStore

_log = logger()


class DecisionWatch:
    """The newest decisions, without a request on the caller's thread.

    Args:
        store: The model's store.
        model: Its name.
        clock: Passes the time.
    """

    def __init__(self, store: ObjectStore, model: str, clock: Clock) -> None:
        """Starts looking."""
        self._watch = ControlWatch(store, model, clock)
        self._clock = clock
        self._known = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
        self._thread.start()

    @property
    def decisions(self) -> Decisions | None:
        """What held at the last look; None before the first: a pause may hold."""
        return self._watch.decisions if self._known else None

    def close(self) -> None:
        """Ends the thread."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        told = ""
        while True:
            try:
                self._watch.look()
                self._known = True
            except Unavailable:
                pass  # whoever commits tells of it
            problem = self._watch.problem
            if problem is not None and str(problem) != told:
                _log.error("decisions_unreadable", error=problem)
            told = "" if problem is None else str(problem)
            if self._clock.wait(self._end, CONTROL_EVERY_S):
                return


class Orders:
    """What the loop is to do about the decisions, and which of them its state follows.

    Args:
        watch: Knows the decisions.
        obeyed: The newest decision that the state restored follows.
    """

    def __init__(self, watch: DecisionWatch, obeyed: int) -> None:
        self._watch = watch
        self._decisions: Decisions | None = None
        self.obeyed = obeyed

    @property
    def decisions(self) -> Decisions:
        """What held at the last look."""
        return self._decisions or Decisions()

    def look(self) -> bool:
        """Takes the newest decisions over; whether there is anything in them that the state does not follow."""
        decisions = self._watch.decisions
        if decisions is None or decisions is self._decisions:
            return False
        self._decisions = decisions
        return decisions.number > self.obeyed

    @property
    def hold(self) -> str | None:
        """Why the learner must not poll; None where it may."""
        if self._decisions is None:
            return "the decisions about this model are not known yet"
        if self._decisions.number < self.obeyed:
            # What is not known may be a key to be forgotten, which the next sample would bring back.
            return (
                f"the state follows decision {self.obeyed}, and only {self._decisions.number} can be read: "
                f"put what is missing under `{paths.CONTROL}` back"
            )
        return None if self._decisions.pause is None else told(self._decisions.pause)

    @property
    def revert(self) -> Decision | None:
        """The wish to go back that is not fulfilled yet."""
        wish = self.decisions.revert
        return wish if wish is not None and wish.number > self.obeyed else None

    def obey(self) -> None:
        """The state follows all that is known."""
        self.obeyed = max(self.obeyed, self.decisions.number)

    def forgotten(self) -> dict[str, list[int]]:
        """The keys that must have no row in what is captured now, by table."""
        return self.decisions.forgotten_keys(self.obeyed)


def told(decision: Decision) -> str:
    """Who decided, when and why, for a person."""
    why = f": {decision.why}" if decision.why else ""
    return f"{decision.kind} by {decision.who} since {iso(decision.decided_ts)}{why}"
