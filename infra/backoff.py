"""Tries again while something outside does not answer; knows no room, and never hides an error of another kind."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from infra.clock import Clock, jitter
from infra.errors import Unavailable
from infra.logs import logger

FIRST_S: Final = 0.1
LONGEST_S: Final = 5.0

Answer = TypeVar("Answer")

_log = logger()


class Stopped(Exception):
    """The process was asked to stop while it waited; nothing went wrong."""


class Backoff:
    """The waits between tries: doubled each time, a random half of each, ended early by the stop event.

    Args:
        what: What is tried, for the log: ``join the topic``.
        clock: Passes the time.
        stop: Set when the process should end.
        first: Seconds of the first wait.
        longest: Seconds of the longest wait.
        jitter: A random share in [0, 1).
    """

    def __init__(
        self,
        what: str,
        *,
        clock: Clock,
        stop: threading.Event,
        first: float = FIRST_S,
        longest: float = LONGEST_S,
        jitter: Callable[[], float] = jitter,
    ) -> None:
        self._what = what
        self._clock = clock
        self._stop = stop
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._next = first
        self._cause: str | None = None
        self._since = 0.0

    @property
    def cause(self) -> str | None:
        """Why the last try failed; None once it succeeded. Fit for a readiness answer."""
        return self._cause

    def failed(self, error: Unavailable) -> None:
        """Waits before the next try; logs the cause when it differs from the last one.

        Raises:
            Stopped: The stop event was set.
        """
        cause = str(error)
        if self._cause is None:
            self._since = self._clock.monotonic()
        if cause != self._cause:
            _log.warning("unavailable", trying=self._what, error=error)
        self._cause = cause
        if self._clock.wait(self._stop, self._next * (0.5 + 0.5 * self._jitter())):
            raise Stopped(self._what)
        self._next = min(self._longest, self._next * 2)

    def succeeded(self) -> None:
        """Begins anew with the first wait."""
        if self._cause is not None:
            seconds = round(self._clock.monotonic() - self._since, 1)
            _log.info("available_again", trying=self._what, after_seconds=seconds)
        self._cause = None
        self._next = self._first


def retry(
    action: Callable[[], Answer],
    what: str,
    *,
    clock: Clock,
    stop: threading.Event,
    first: float = FIRST_S,
    longest: float = LONGEST_S,
    give_up_after: float | None = None,
) -> Answer:
    """``action``'s answer, tried until it comes; only :class:`~infra.errors.Unavailable` is tried again.

    Args:
        action: Must be safe to repeat.
        what: What is tried, for the log.
        clock: Passes the time.
        stop: Set when the process should end.
        first: Seconds of the first wait.
        longest: Seconds of the longest wait.
        give_up_after: Seconds after which the last error is raised; None tries for ever.

    Raises:
        Stopped: The stop event was set while waiting.
        Unavailable: Still so after ``give_up_after``.
    """
    backoff = Backoff(what, clock=clock, stop=stop, first=first, longest=longest)
    began = clock.monotonic()
    while True:
        try:
            answer = action()
        except Unavailable as error:
            if give_up_after is not None and clock.monotonic() - began >= give_up_after:
                raise
            backoff.failed(error)
            continue
        backoff.succeeded()
        return answer
