"""Turns signals into one stop event and errors into exit codes; knows no command."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import typer

from infra.errors import Bug, SpringtideError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set, so that a loop leaves at its next boundary."""
    stop = threading.Event()

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in SIGNALS:
        signal.signal(number, request)
    return stop


@contextlib.contextmanager
def interrupting(stop: threading.Event) -> Iterator[None]:
    """Inside, the first signal also raises KeyboardInterrupt: for work that waits where it cannot ask ``stop``.

    A second one raises nothing, so that it cannot break the cleaning up after the first.

    Raises:
        KeyboardInterrupt: A signal came, before or inside.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if not stop.is_set():
            stop.set()
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        if stop.is_set():
            raise KeyboardInterrupt
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(command: Callable[[], Any]) -> None:
    """Runs ``command``; an error that a person can act on becomes one message and its exit code.

    Any other is a defect: its trace is printed whole, for the developers.
    """
    try:
        command()
    except SpringtideError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from error
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        traceback.print_exc()
        raise typer.Exit(Bug.exit_code) from error
