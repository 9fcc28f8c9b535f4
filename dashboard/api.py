"""Answers the page's questions about one of its models; must not know the server or how figures are made."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dashboard import assets
from dashboard.past import COARSE_KEPT, MINUTE, as_json
from dashboard.shown import Shown, words
from infra.clock import Clock
from infra.spec_checks import nearest

DEFAULT_MINUTES: Final = 10.0


class Json(Response):
    """JSON that no cache keeps."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200) -> None:
        super().__init__(as_json(content), status_code, {"Cache-Control": "no-store"})


class Api:
    """Every address takes `?model=NAME`; without it, it is about the first model.

    Args:
        models: At least one.
        clock: Says when now is.
    """

    def __init__(self, models: Sequence[Shown], clock: Clock) -> None:
        self._models = models
        self._clock = clock
        self._files = assets.load()
        self._named = {model.pipeline.name: model for model in models}
        self._readers = {name: model.history.reader() for name, model in self._named.items()}

    def routes(self) -> list[Route]:
        """What is answered where."""
        return [
            Route("/", self.page),
            Route("/static/{path:path}", self.page),
            Route("/api/history", self.past),
            Route("/api/live", self.stream),
            Route("/api/versions", self.versions),
            Route("/api/dead", self.dead),
            Route("/api/decide", self.decide, methods=["POST"]),
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
            Route("/status", self.status),
            Route("/metrics", self.exported),
        ]

    def _of(self, request: Request) -> Shown:
        name = request.query_params.get("model", self._models[0].pipeline.name)
        if name not in self._named:
            raise HTTPException(404, f"no model `{name}` here{nearest(name, self._named)}")
        return self._named[name]

    async def page(self, request: Request) -> Response:
        """A file of the page's own."""
        self._of(request)
        asset = self._files.get(request.path_params.get("path", assets.INDEX))
        if asset is None:
            raise HTTPException(404, "no such file")
        return assets.answer(asset, request)

    async def past(self, request: Request) -> Response:
        """Figures, quality and events of a span of time that ends now."""
        model = self._of(request)
        reader = self._readers[model.pipeline.name]
        minutes = _number(request.query_params, "minutes", DEFAULT_MINUTES, COARSE_KEPT / MINUTE)
        now = self._clock.now_ms()
        start = now - int(minutes * MINUTE)

        def read() -> dict[str, Any]:
            found = reader.range(start, now)
            return {
                "now": now,
                "start": found.start,
                "step": found.step,
                "series": found.series,
                "quality": model.sampler.quality_points(start),
                "events": reader.events(start),
            }

        return Json(await run_in_threadpool(read))

    async def versions(self, request: Request) -> Response:
        """The newest versions."""
        return Json({"versions": await run_in_threadpool(self._of(request).sampler.version_rows)})

    async def dead(self, request: Request) -> Response:
        """The newest dead letters, masked."""
        return Json({"letters": await run_in_threadpool(self._of(request).sampler.dead_letters)})

    async def decide(self, request: Request) -> Response:
        """Enters what somebody wants, if they know the token."""
        return Json({"decided": await self._of(request).door.decide(request)})

    async def stream(self, request: Request) -> Response:
        """The ticks, as server-sent events."""
        packed = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        return StreamingResponse(
            self._of(request).live.stream(packed=packed), headers=headers, media_type="text/event-stream"
        )

    async def health(self, _: Request) -> Response:
        """Whether the process lives."""
        return Json({"alive": True})

    async def ready(self, _: Request) -> Response:
        """Whether there has been a tick of every model."""
        reason = None if all(model.live.ready for model in self._models) else "no tick yet"
        return Json({"ready": reason is None, "reason": reason}, 503 if reason else 200)

    async def status(self, request: Request) -> Response:
        """What the page's server does."""
        model = self._of(request)
        told = {"model": model.pipeline.name, "ticks": model.sampler.ticks, "viewers": model.live.viewers}
        return Json({"role": "dashboard", **told, "models": words(self._models)})

    async def exported(self, request: Request) -> Response:
        """The metrics."""
        model = self._of(request)
        model.metrics.set("springtide_page_viewers", model.live.viewers)
        model.metrics.set("springtide_ready", float(model.live.ready))
        return Response(generate_latest(model.metrics.registry), media_type=CONTENT_TYPE_LATEST)


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
