"""A machine whose clock is wrong."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from infra.clock import SystemClock


class SkewedClock(SystemClock):
    """Tells the time of the day wrongly by so many seconds; what passes, passes rightly."""

    def __init__(self, ahead_s: float) -> None:
        super().__init__()
        self.ahead_s = ahead_s

    def now_ms(self) -> int:
        """The wrong time."""
        return super().now_ms() + round(self.ahead_s * 1000)
