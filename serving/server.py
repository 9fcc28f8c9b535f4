"""Runs the web server, and leaves when it is told to; knows no request."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, cast

import uvicorn

from infra.clock import Clock
from serving.connection import Connection, Direct
from serving.listening import BACKLOG

# Once asked to stop, a replica says so for this long before it stops listening: balancers look every so often.
DRAIN_PAUSE_S: Final = 0.5
# What was begun by then may end.
DRAIN_WITHIN_S: Final = 3
# Longer than the idle timeout of common balancers, so that they close connections and not we.
KEEP_ALIVE_S: Final = 75


class Server(uvicorn.Server):
    """Uvicorn, told to leave by the stop event instead of by signals of its own."""

    def __init__(
        self,
        app: Any,
        clock: Clock,
        stop: threading.Event,
        leaving: Callable[[], None] = lambda: None,
        direct: Direct | None = None,
    ) -> None:
        """Sets up; `run` serves.

        Args:
            app: What answers.
            clock: Says when the pause is over.
            stop: Tells it to leave.
            leaving: Called when it stops listening, so that what listens beside it does, too.
            direct: Answers plain questions to the model without ``app``; None where ``app`` answers all.
        """
        # Its notes of starting and stopping say what our own events say.
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                # A class, says the type; what makes one will do.
                http="httptools" if direct is None else cast("type[asyncio.Protocol]", partial(Connection, direct)),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=DRAIN_WITHIN_S,
            )
        )
        self._clock = clock
        self._stop = stop
        self._leaving = leaving
        self._draining_since: float | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever made the stop event."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to stop listening; asked ten times a second."""
        if self._stop.is_set() and self._draining_since is None:
            self._draining_since = self._clock.monotonic()
        if self._draining_since is not None and self._clock.monotonic() - self._draining_since >= DRAIN_PAUSE_S:
            self._leaving()
            return True
        return await super().on_tick(counter)
