"""Lets those who know the token decide about versions, and shows what holds; must not know who obeys."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from checkpointing.control import ControlLog, Decision, Decisions
from checkpointing.deciding import Decider
from infra.clock import Clock
from infra.errors import Invalid
from infra.object_store import ObjectStore

Action = Literal["pin", "promote", "resume"]
ACTIONS: Final[tuple[Action, ...]] = ("pin", "promote", "resume")
# People decide seldom: the page looks with every second tick.
DECISION_TICKS: Final = 2
# Words from outside: kept as long as a sentence.
MOST_WHO, MOST_WHY = 80, 400


class DecisionReader:
    """The log of decisions, read once a tick. For one thread at a time."""

    def __init__(self, store: ObjectStore, model: str) -> None:
        self._log = ControlLog(store, model)
        self._began = False

    def poll(self) -> tuple[Decisions, list[Decision]]:
        """What holds, and the entries since the last call; none at first: they are history.

        Raises:
            Corrupt: An entry is wrong.
            Invalid: An entry has a newer format, or is of another model.
            Unavailable: The store does not answer.
        """
        found = self._log.poll()
        fresh = found if self._began else []
        self._began = True
        return self._log.decisions, fresh


@dataclass(frozen=True)
class Wish:
    """What somebody asked for on the page."""

    action: Action
    version: int | None
    who: str
    why: str

    @classmethod
    def of(cls, body: Any) -> Wish:
        """Reads the body of a request.

        Raises:
            Invalid: It is no wish.
        """
        if not isinstance(body, Mapping):
            raise Invalid("the body is no JSON object", wanted="action, version, who, why")
        action, version = body.get("action"), body.get("version")
        if action not in ACTIONS:
            raise Invalid(f"action is {action!r}", wanted=", ".join(ACTIONS))
        if (type(version) is int and version > 0) != (action != "resume"):
            raise Invalid(f"version is {version!r} in a {action}", wanted="a number, or none to resume")
        who, why = str(body.get("who") or "").strip(), str(body.get("why") or "").strip()
        if not who or len(who) > MOST_WHO or len(why) > MOST_WHY:
            raise Invalid("who decides, and why?", wanted=f"a name of at most {MOST_WHO} letters, {MOST_WHY} for why")
        return cls(action, version, who, why)


class Desk:
    """Takes wishes.

    Args:
        store: The model's store.
        model: Its name.
        clock: For the time of entries.
        token: What the asker must know; None: nobody may decide here.
    """

    def __init__(self, store: ObjectStore, model: str, clock: Clock, token: str | None) -> None:
        self._store = store
        self._model = model
        self._clock = clock
        self._token = token

    @property
    def open(self) -> bool:
        """Whether anybody may decide on this page."""
        return self._token is not None

    def knows(self, authorization: str) -> bool:
        """Whether a header ``Authorization: Bearer ...`` names the token; takes as long for any wrong one."""
        scheme, _, given = authorization.partition(" ")
        known = self._token is not None and hmac.compare_digest(given.strip().encode(), self._token.encode())
        return known and scheme.lower() == "bearer"

    def decide(self, wish: Wish) -> list[Decision]:
        """Enters what was asked for.

        Raises:
            Invalid: It cannot be obeyed, as for a version that is gone.
            Unavailable: The store does not answer.
        """
        decider = Decider(self._store, self._model, self._clock, wish.who, wish.why)
        if wish.action == "resume":
            return decider.resume()
        return [decider.pin(wish.version or 0) if wish.action == "pin" else decider.promote(wish.version or 0)]


def as_section(decisions: Decisions) -> dict[str, Any]:
    """What holds, for the page."""
    return {
        "pin": _said(decisions.pin),
        "pause": _said(decisions.pause),
        "promoted": sorted(decisions.promoted)[-20:],
    }


def _said(entry: Decision | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {"version": entry.version, "who": entry.who, "why": entry.why, "since_ts": entry.decided_ts}
