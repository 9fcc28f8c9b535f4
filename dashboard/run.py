"""Runs the page's server until it is told to stop; must not know commands or signals."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette

from dashboard.app import build_app
from dashboard.decisions import Desk
from dashboard.door import Door
from dashboard.history import History
from dashboard.live import Live
from dashboard.sampler import PERIOD_S, Sampler
from infra.clock import Clock
from infra.logs import logger
from infra.metrics import Metrics
from infra.object_store import ObjectStore
from infra.secrets import read_secret
from infra.spec import Pipeline
from infra.status_server import listen_error

_log = logger()

# A viewer's open stream must not hold up the end.
GOODBYE_S: Final = 1
STOP_POLL_S: Final = 0.1


def run_dashboard(
    pipeline: Pipeline,
    *,
    store: ObjectStore,
    clock: Clock,
    host: str,
    port: int,
    stop: threading.Event,
    listening: Callable[[int], None] | None = None,
    period_s: float = PERIOD_S,
) -> None:
    """Serves the page of one model until ``stop`` is set.

    Args:
        pipeline: The model; `dashboard.targets` names the processes, `dashboard.history` the file of past figures.
        store: The model's versions.
        clock: Says when now is.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        stop: Set when the page should end.
        listening: Called once with the port, as soon as the page answers.
        period_s: Seconds from tick to tick.

    Raises:
        Invalid: The port is in use, the history file cannot be used, or the token is missing.
        Corrupt: The history file is damaged.
    """
    listener = _listen(host, port)
    try:
        bound = int(listener.getsockname()[1])
        history = History(Path(pipeline.dashboard.history))
        metrics = Metrics("dashboard", clock=clock)
        secret = pipeline.dashboard.token
        desk = Desk(store, pipeline.name, clock, None if secret is None else read_secret(secret))
        sampler = Sampler(
            pipeline,
            store=store,
            history=history,
            clock=clock,
            metrics=metrics,
            period_s=period_s,
            may_decide=desk.open,
        )
        live = Live()
        door = Door(desk)
        app = build_app(pipeline, sampler=sampler, history=history, live=live, door=door, clock=clock, metrics=metrics)
        asyncio.run(_serve(app, live, sampler, listener, bound, stop, listening))
    finally:
        listener.close()


async def _serve(
    app: Starlette,
    live: Live,
    sampler: Sampler,
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
    server = _Server(config)

    async def end() -> None:
        while not stop.is_set() and not server.should_exit and sampler.failure is None:
            if server.started and not announced.is_set():
                announced.set()
                _log.info("page_listening", port=port)
                if listening is not None:
                    listening(port)
            await asyncio.sleep(STOP_POLL_S)
        await live.close()
        server.should_exit = True

    announced = asyncio.Event()
    ending = asyncio.create_task(end())
    await server.serve(sockets=[listener])
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    if sampler.failure is not None:
        raise sampler.failure


class _Server(uvicorn.Server):
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
