"""Listens, and leaves when it is told to; knows the web server and no request."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any, Final

import uvicorn

from infra.clock import Clock
from infra.logs import logger
from infra.metrics import Metrics
from infra.status_server import listen_error

# Once asked to stop, a replica says so for this long before it stops listening: balancers look every so often.
DRAIN_PAUSE_S: Final = 0.5
# What was begun by then may end.
DRAIN_WITHIN_S: Final = 3
# Longer than the idle timeout of common balancers, so that they close connections and not we.
KEEP_ALIVE_S: Final = 75
BACKLOG: Final = 1024

_log = logger()


class Server(uvicorn.Server):
    """Uvicorn, told to leave by the stop event instead of by signals of its own."""

    def __init__(self, app: Any, clock: Clock, stop: threading.Event, metrics: Metrics) -> None:
        # Its notes of starting and stopping say what our own events say.
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
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
        self._metrics = metrics
        self._draining_since: float | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever made the stop event."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to stop listening; asked ten times a second."""
        if self._stop.is_set() and self._draining_since is None:
            self._draining_since = self._clock.monotonic()
            self._metrics.set("springtide_ready", 0)
            _log.info("replica_draining")
        if self._draining_since is not None and self._clock.monotonic() - self._draining_since >= DRAIN_PAUSE_S:
            return True
        return await super().on_tick(counter)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on ``host:port``.

    Raises:
        Invalid: The port is in use, or the address is not this machine's.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Not only bound: a second replica on the same port must fail here.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise listen_error(host, port, error) from None
    return listener
