"""Signals stop at once and only once; errors become a message, defects a trace, and both an exit code."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from infra.errors import Bug, Unavailable
from infra.local.process import Process
from springtide.lifecycle import SIGNALS, interrupting, run, stop_on_signals


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    """Puts pytest's own handlers back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_sets_the_event_and_raises_nothing(number: int) -> None:
    stop = stop_on_signals()
    send(number)
    assert stop.wait(10)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_breaks_the_waiting_for_a_process_that_is_never_ready(tmp_path: Path, number: int) -> None:
    stop = stop_on_signals()
    with Process("server", ["sleep", "300"], tmp_path / "log") as process:
        process.start()

        def never() -> bool:
            send(number)  # from the waiting itself, so that it comes neither before nor after
            return False

        with pytest.raises(KeyboardInterrupt), interrupting(stop):
            process.wait_until_ready(never, 60)
        assert stop.is_set()
        assert process.alive, "whoever started it cleans up"


def test_a_second_signal_does_not_break_the_cleaning_up() -> None:
    stop, cleaned = stop_on_signals(), threading.Event()

    def start() -> None:
        with interrupting(stop):
            try:
                send(signal.SIGINT)
            finally:
                send(signal.SIGINT)
                send(signal.SIGTERM)
                cleaned.set()

    with pytest.raises(KeyboardInterrupt):
        start()
    assert cleaned.is_set()
    send(signal.SIGTERM)  # the handlers from before are back, and raise nothing


def test_a_signal_from_before_stops_too() -> None:
    stop = stop_on_signals()
    stop.set()
    with pytest.raises(KeyboardInterrupt), interrupting(stop):
        pytest.fail("nothing may be started any more")


def test_a_known_error_is_one_message_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise Unavailable("the server is away")

    with pytest.raises(typer.Exit) as caught:
        run(fail)
    assert caught.value.exit_code == Unavailable.exit_code
    assert capsys.readouterr().err == "the server is away\n"


def test_a_defect_shows_its_trace_and_ends_as_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    nothing: dict[str, int] = {}
    with pytest.raises(typer.Exit) as caught:
        run(lambda: nothing["absent"])
    assert caught.value.exit_code == Bug.exit_code
    error = capsys.readouterr().err
    assert "Traceback" in error and "KeyError: 'absent'" in error


def test_an_exit_code_passes_through() -> None:
    def leave() -> None:
        raise typer.Exit(3)

    with pytest.raises(typer.Exit) as caught:
        run(leave)
    assert caught.value.exit_code == 3
