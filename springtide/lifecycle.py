"""Turns signals into one stop event and errors into exit codes; knows no command."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer

from infra.errors import SpringtideError


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set, so that a loop leaves at its next boundary."""
    stop = threading.Event()

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, request)
    signal.signal(signal.SIGINT, request)
    return stop


def run(command: Callable[[], Any]) -> None:
    """Runs ``command``; an error that a person can act on becomes one message and its exit code."""
    try:
        command()
    except SpringtideError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from error
