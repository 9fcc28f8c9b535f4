"""Trying again: how long the waits are, what is logged, what ends them; on a clock that only the tests move."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from infra.backoff import Backoff, Stopped, retry
from infra.errors import Corrupt, Unavailable


class ManualClock:
    """Time passes by waiting only."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits: list[float] = []

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if not event.is_set():
            self.waits.append(seconds)
            self.seconds += seconds
        return event.is_set()


def failing(causes: list[str], answer: int = 7) -> Callable[[], int]:
    left = list(causes)

    def action() -> int:
        if left:
            raise Unavailable(left.pop(0))
        return answer

    return action


def test_it_tries_until_the_answer_comes_and_logs_each_change_of_cause_once() -> None:
    clock = ManualClock()
    with capture_logs() as logged:
        assert retry(failing(["down"] * 4 + ["slow"] * 2), "commit", clock=clock, stop=threading.Event()) == 7
    assert [(line["event"], str(line.get("error", ""))) for line in logged] == [
        ("unavailable", "down"),
        ("unavailable", "slow"),
        ("available_again", ""),
    ]
    assert logged[-1]["after_seconds"] == pytest.approx(sum(clock.waits), abs=0.06)
    assert len(clock.waits) == 6


def test_an_answer_at_once_is_not_worth_a_line() -> None:
    with capture_logs() as logged:
        assert retry(failing([]), "commit", clock=ManualClock(), stop=threading.Event()) == 7
    assert logged == []


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20))
def test_waits_double_up_to_the_longest_and_keep_a_random_half(shares: list[float]) -> None:
    clock, remaining = ManualClock(), iter(shares)
    backoff = Backoff("x", clock=clock, stop=threading.Event(), first=0.1, longest=2.0, jitter=lambda: next(remaining))
    for _ in shares:
        backoff.failed(Unavailable("down"))
    wanted = [min(2.0, 0.1 * 2**number) * (0.5 + share / 2) for number, share in enumerate(shares)]
    assert clock.waits == pytest.approx(wanted)
    backoff.succeeded()
    assert backoff.cause is None


def test_only_unavailable_is_tried_again() -> None:
    clock, calls = ManualClock(), []

    def action() -> None:
        calls.append(1)
        raise Corrupt("bytes")

    with pytest.raises(Corrupt):
        retry(action, "read", clock=clock, stop=threading.Event())
    assert len(calls) == 1 and clock.waits == []


def test_it_gives_up_with_the_last_error() -> None:
    clock = ManualClock()
    with pytest.raises(Unavailable, match="still"):
        retry(failing(["down"] + ["still"] * 99), "x", clock=clock, stop=threading.Event(), give_up_after=3.0)
    assert 3.0 <= clock.seconds < 3.0 + 5.0


def test_a_stop_ends_the_wait() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        retry(failing(["down"] * 99), "x", clock=ManualClock(), stop=stop)
