"""The one door to the wall clock and to randomness; knows nothing of who asks."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime
import random
import secrets
import threading
import time
import uuid
from typing import Protocol


class Clock(Protocol):
    """Time as a component, so that tests and simulations can pass their own."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""
        ...

    def sleep(self, seconds: float) -> None:
        """Lets at least ``seconds`` pass."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Waits until ``event`` is set or ``seconds`` have passed; returns whether it is set."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


def new_uuid() -> str:
    """A fresh random identifier, 32 hexadecimal digits."""
    return uuid.uuid4().hex


def new_secret(length: int = 24) -> str:
    """A fresh secret for a development stack, URL-safe."""
    return secrets.token_urlsafe(length)


def jitter() -> float:
    """A random share in [0, 1), so that those who wait for the same thing do not all come back at once."""
    return random.random()


def iso(timestamp_ms: int) -> str:
    """``timestamp_ms`` as ISO-8601 UTC with milliseconds, the form of every time on the wire."""
    moment = datetime.datetime.fromtimestamp(timestamp_ms / 1000, tz=datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{timestamp_ms % 1000:03d}Z"
