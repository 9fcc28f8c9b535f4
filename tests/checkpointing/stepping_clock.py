"""Time that passes only when somebody sleeps, so that no test waits."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading


class SteppingClock:
    """A clock that a pause moves on by its length."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return 1_700_000_000_000 + round(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if not event.is_set():
            self.seconds += seconds
        return event.is_set()
