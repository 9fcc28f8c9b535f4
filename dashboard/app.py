"""Serves the page, its API and its own health over HTTP; must not know where the figures come from."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard import assets
from dashboard.door import Door
from dashboard.history import COARSE_KEPT, MINUTE, History, as_json
from dashboard.live import Live
from dashboard.sampler import Sampler
from infra.clock import Clock
from infra.metrics import Metrics
from infra.spec import Pipeline

HEADERS: Final = (
    ("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
DEFAULT_MINUTES: Final = 10.0
GZIP_FROM_BYTES: Final = 600


class Json(Response):
    """JSON that no cache keeps."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200) -> None:
        super().__init__(as_json(content), status_code, {"Cache-Control": "no-store"})


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


def build_app(
    pipeline: Pipeline, *, sampler: Sampler, history: History, live: Live, door: Door, clock: Clock, metrics: Metrics
) -> Starlette:
    """The page's server; its lifespan runs the sampler in a thread of its own.

    Args:
        pipeline: The model.
        sampler: Makes the ticks.
        history: Where the API reads past figures.
        live: Passes the ticks on.
        door: Takes decisions.
        clock: Says when now is.
        metrics: What `/metrics` shows.
    """
    files = assets.load()
    reader = history.reader()

    async def page(request: Request) -> Response:
        asset = files.get(request.path_params.get("path", assets.INDEX))
        if asset is None:
            raise HTTPException(404, "no such file")
        return assets.answer(asset, request)

    async def past(request: Request) -> Response:
        minutes = _number(request.query_params, "minutes", DEFAULT_MINUTES, COARSE_KEPT / MINUTE)
        now = clock.now_ms()
        start = now - int(minutes * MINUTE)

        def read() -> dict[str, Any]:
            found = reader.range(start, now)
            return {
                "now": now,
                "start": found.start,
                "step": found.step,
                "series": found.series,
                "quality": [asdict(point) for point in sampler.quality_points(start)],
                "events": [asdict(event) for event in reader.events(start)],
            }

        return Json(await run_in_threadpool(read))

    async def versions(_: Request) -> Response:
        return Json({"versions": await run_in_threadpool(sampler.version_rows)})

    async def dead(_: Request) -> Response:
        return Json({"letters": await run_in_threadpool(sampler.dead_letters)})

    async def decide(request: Request) -> Response:
        return Json({"decided": await door.decide(request)})

    async def stream(request: Request) -> Response:
        packed = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        return StreamingResponse(live.stream(packed=packed), headers=headers, media_type="text/event-stream")

    async def health(_: Request) -> Response:
        return Json({"alive": True})

    async def ready(_: Request) -> Response:
        reason = None if live.ready else "no tick yet"
        return Json({"ready": reason is None, "reason": reason}, 503 if reason else 200)

    async def status(_: Request) -> Response:
        return Json({"role": "dashboard", "model": pipeline.name, "ticks": sampler.ticks, "viewers": live.viewers})

    async def exported(_: Request) -> Response:
        metrics.set("springtide_page_viewers", live.viewers)
        metrics.set("springtide_ready", float(live.ready))
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        loop, stop = asyncio.get_running_loop(), threading.Event()

        def publish(sections: Mapping[str, Any]) -> None:
            if not stop.is_set():
                asyncio.run_coroutine_threadsafe(live.publish(sections), loop)

        thread = threading.Thread(target=sampler.run, args=(stop, publish), name="sampler")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            await asyncio.to_thread(thread.join)
            await asyncio.to_thread(sampler.close)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return Json({"error": error.detail}, error.status_code)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/static/{path:path}", page),
            Route("/api/history", past),
            Route("/api/live", stream),
            Route("/api/versions", versions),
            Route("/api/dead", dead),
            Route("/api/decide", decide, methods=["POST"]),
            Route("/healthz", health),
            Route("/readyz", ready),
            Route("/status", status),
            Route("/metrics", exported),
        ],
        middleware=[Middleware(SafeHeaders), Middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES)],
        exception_handlers={HTTPException: refused},
        lifespan=lifespan,
    )


def _number(given: Mapping[str, str], name: str, default: float, most: float) -> float:
    text = given.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value <= most:
        raise HTTPException(400, f"{name}={text}; wanted a number above 0, at most {most:g}")
    return value
