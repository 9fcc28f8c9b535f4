"""Asks one process for its status and remembers since when it answers; must not know what the page shows."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import orjson

from infra.clock import Clock

Role = Literal["join", "learner", "replica"]

TIMEOUT_S: Final = 0.8
# One lost answer is no outage.
MISSES: Final = 2
MOST_BYTES: Final = 4 << 20


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
    """

    def __init__(self, role: Role, url: str, clock: Clock) -> None:
        self._url = url.rstrip("/")
        self._clock = clock
        self._line: HTTPConnection | None = None
        self._misses = 0
        self._answer = Answer(role, self._url, up=False, since_ms=clock.now_ms(), why="not asked yet")

    def poll(self) -> Answer:
        """Asks once; never raises."""
        now = self._clock.now_ms()
        before = self._answer
        try:
            status = orjson.loads(self._asked())
            if not isinstance(status, dict):
                raise ValueError("/status is no JSON object")
        except (OSError, HTTPException, ValueError) as error:
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

    def close(self) -> None:
        """Ends the connection; the next question opens another."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _asked(self) -> bytes:
        """The body of `/status`, over a connection that is kept: a client library's own work is most of a question."""
        kept = self._line is not None
        try:
            return self._ask()
        except (ConnectionError, BadStatusLine):
            if not kept:
                raise
        return self._ask()  # a kept connection may have ended meanwhile

    def _ask(self) -> bytes:
        parts = urlsplit(self._url)
        if self._line is None:
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{self._url} is no http address")
            made = HTTPSConnection if parts.scheme == "https" else HTTPConnection
            self._line = made(parts.hostname, parts.port, timeout=TIMEOUT_S)
        try:
            self._line.request("GET", f"{parts.path}/status", headers={"Accept": "application/json"})
            reply = self._line.getresponse()
            body = reply.read(MOST_BYTES + 1)
            if reply.status != HTTPStatus.OK:
                raise ValueError(f"/status answered {reply.status}")
            if len(body) > MOST_BYTES:
                raise ValueError(f"/status has more than {MOST_BYTES} bytes")
        except BaseException:
            self.close()
            raise
        return body
