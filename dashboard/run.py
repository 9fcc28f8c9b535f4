"""Runs the page's server until it is told to stop; must not know commands or signals."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import uvicorn
import uvloop
from starlette.applications import Starlette

from dashboard.app import build_app
from dashboard.sampler import PERIOD_S
from dashboard.shown import Shown, require_apart
from infra.clock import Clock
from infra.logs import logger
from infra.object_store import ObjectStore
from infra.spec import Pipeline
from infra.status_server import listen_error

_log = logger()

# A viewer's open stream must not hold up the end.
GOODBYE_S: Final = 1
STOP_POLL_S: Final = 0.5
COLLECT_EVERY: Final = 20_000
# The server renews the date whenever it has counted so many.
TICKS_PER_DATE: Final = 10


def run_dashboard(
    models: Sequence[tuple[Pipeline, ObjectStore]],
    *,
    clock: Clock,
    host: str,
    port: int,
    stop: threading.Event,
    listening: Callable[[int], None] | None = None,
    period_s: float = PERIOD_S,
) -> None:
    """Serves the page of one or several models until ``stop`` is set.

    Args:
        models: Each with the store of its versions, the one that is shown first before the others;
            `dashboard.targets` names the processes of each, `dashboard.history` the file of its past figures.
        clock: Says when now is.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        stop: Set when the page should end.
        listening: Called once with the port, as soon as the page answers.
        period_s: Seconds from tick to tick.

    Raises:
        Invalid: The port is in use, a history file cannot be used or belongs to two models, or a token is missing.
        Corrupt: A history file is damaged.
    """
    require_apart([pipeline for pipeline, _ in models])
    listener = _listen(host, port)
    try:
        bound = int(listener.getsockname()[1])
        shown = [Shown.of(pipeline, store, clock, period_s) for pipeline, store in models]
        # What was imported lives for ever, and a tick leaves little behind: full collections would find nothing.
        gc.freeze()
        gc.set_threshold(COLLECT_EVERY)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(build_app(shown, clock), shown, listener, bound, stop, listening))
    finally:
        listener.close()


async def _serve(
    app: Starlette,
    shown: Sequence[Shown],
    listener: socket.socket,
    port: int,
    stop: threading.Event,
    listening: Callable[[int], None] | None,
) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GOODBYE_S,
        lifespan="on",
    )

    def begun() -> None:
        _log.info("page_listening", port=port)
        if listening is not None:
            listening(port)

    def failure() -> Exception | None:
        return next((model.sampler.failure for model in shown if model.sampler.failure is not None), None)

    async def leave() -> None:
        for model in shown:
            model.live.close()

    server = _Server(config, begun, lambda: stop.is_set() or failure() is not None, leave)
    await server.serve(sockets=[listener])
    if (failed := failure()) is not None:
        raise failed


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        begun: Callable[[], None],
        ended: Callable[[], bool],
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._begun = begun
        self._ended = ended
        self._leave = leave

    async def main_loop(self) -> None:
        """Looks now and then whether to end: as the library does it, ten times a second, is a tenth of the page's work.

        Each call moves the library's own clock by a second, so that it renews the date of its answers.
        """
        self._begun()
        ticks = 0
        while not (await self.on_tick(ticks) or self._ended()):
            ticks += TICKS_PER_DATE
            await asyncio.sleep(STOP_POLL_S)
        await self._leave()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the command, which sets the stop event."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise listen_error(host, port, error) from None
    return listener
