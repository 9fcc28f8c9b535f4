"""The web application of one replica: both protocols and the pages every process has; knows no server and no store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.answering import error_response, json_response, raw_response
from serving.endpoints import Endpoints
from serving.refusals import NOT_FOUND, NOT_READY

PATHS: Final = "/v1/models/…, /v2/models/…, /v2/health/…, /healthz, /readyz, /status, /metrics"


def build_app(
    endpoints: Endpoints,
    *,
    metrics: Callable[[], bytes],
    status: Callable[[], Mapping[str, Any]],
    not_ready: Callable[[], str | None],
) -> Starlette:
    """The application.

    Args:
        endpoints: Of both protocols.
        metrics: Gives what ``/metrics`` shows, in Prometheus' text form.
        status: Gives what ``/status`` shows.
        not_ready: Why the replica is not ready; None while it is.
    """

    async def healthz(_: Request) -> Response:
        return json_response({"alive": True})

    async def readyz(_: Request) -> Response:
        reason = not_ready()
        return json_response({"ready": reason is None, "reason": reason}, 200 if reason is None else NOT_READY)

    async def status_page(_: Request) -> Response:
        return json_response(status())

    async def metrics_page(_: Request) -> Response:
        return raw_response(metrics(), None, CONTENT_TYPE_LATEST)

    async def http_error(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        if error.status_code == NOT_FOUND:
            return error_response(NOT_FOUND, f"no such path: {request.url.path}; there are {PATHS}")
        response = error_response(error.status_code, f"{request.method} {request.url.path}: {error.detail}")
        response.headers.update(error.headers or {})
        return response

    return Starlette(
        routes=[
            *endpoints.routes(),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/status", status_page),
            Route("/metrics", metrics_page),
        ],
        exception_handlers={HTTPException: http_error},
    )
