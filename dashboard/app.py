"""Runs the samplers beside the page's server and guards its answers; must not know what is answered."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.api import Api, Json
from dashboard.shown import Shown, words
from infra.clock import Clock

HEADERS: Final = (
    ("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
GZIP_FROM_BYTES: Final = 600


class SafeHeaders:
    """Adds the same protective headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS:
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)


def build_app(models: Sequence[Shown], clock: Clock) -> Starlette:
    """The page's server; its lifespan runs the samplers, each in a thread of its own.

    Args:
        models: At least one.
        clock: Says when now is.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        loop, stop = asyncio.get_running_loop(), threading.Event()

        def publish(model: Shown, sections: Mapping[str, Any]) -> None:
            if not stop.is_set():
                model.note(sections)
                others = {"models": words(models)} if len(models) > 1 else {}
                loop.call_soon_threadsafe(model.live.publish, {**sections, **others})

        threads = [
            threading.Thread(target=model.sampler.run, args=(stop, partial(publish, model)), name="sampler")
            for model in models
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread, model in zip(threads, models, strict=True):
                await asyncio.to_thread(thread.join)
                await asyncio.to_thread(model.sampler.close)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return Json({"error": error.detail}, error.status_code)

    return Starlette(
        routes=Api(models, clock).routes(),
        middleware=[Middleware(SafeHeaders), Middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES)],
        exception_handlers={HTTPException: refused},
        lifespan=lifespan,
    )
