"""Asks one process for its status and remembers since when it answers; must not know what the page shows."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from dashboard.line import Line
from infra.addresses import with_address
from infra.clock import Clock

Role = Literal["join", "learner", "replica"]

TIMEOUT_S: Final = 0.8
# One lost answer is no outage.
MISSES: Final = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process last said.

    Args:
        role: What it is.
        url: Its base address.
        up: Whether it answers.
        since_ms: When that last changed; of a process that never answered, when the page began to ask.
        status: Its last `/status`; empty before the first.
        asked_ms: When this was asked.
        why: Why it does not answer; empty while it does.
    """

    role: Role
    url: str
    up: bool
    since_ms: int
    status: Mapping[str, Any] = field(default_factory=dict)
    asked_ms: int = 0
    why: str = ""

    @property
    def name(self) -> str:
        """Its own name, or its address before it has said it."""
        return str(self.status.get("name") or self.url.removeprefix("http://").removeprefix("https://"))


class Target:
    """One process with a `/status`. For one thread at a time.

    Args:
        role: What it is.
        url: Its base address, as `dashboard.targets` has it.
        clock: Says when now is.
        address: Of many that stand behind the URL's name, the one to ask.
    """

    def __init__(self, role: Role, url: str, clock: Clock, address: str | None = None) -> None:
        self.url = with_address(url.rstrip("/"), address)
        self._clock = clock
        self._line = Line(url, clock, address=address, timeout_s=TIMEOUT_S)
        self._misses = 0
        self._answer = Answer(role, self.url, up=False, since_ms=clock.now_ms(), why="not asked yet")

    def poll(self) -> Answer:
        """Asks once; never raises."""
        now = self._clock.now_ms()
        before = self._answer
        try:
            status = orjson.loads(self._line.get("/status"))
            if not isinstance(status, dict):
                raise ValueError("/status is no JSON object")
        except (OSError, ValueError) as error:
            self._misses += 1
            up = before.up and self._misses < MISSES
            since = before.since_ms if up == before.up else now
            why = str(error) or type(error).__name__
            self._answer = Answer(before.role, before.url, up, since, before.status, now, why)
        else:
            self._misses = 0
            since = before.since_ms if before.up else now
            self._answer = Answer(before.role, before.url, True, since, status, now)
        return self._answer

    @property
    def up(self) -> bool:
        """Whether it answered when it was last asked."""
        return self._answer.up

    def close(self) -> None:
        """Ends the connection; the next question opens another."""
        self._line.close()
