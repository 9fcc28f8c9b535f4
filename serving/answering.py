"""Runs one request to its answer: limits, threads, errors as JSON, figures; knows no protocol's form."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Final, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from infra.clock import Clock
from infra.errors import Bug, Invalid, SpringtideError, Unavailable
from infra.logs import logger
from infra.metrics import Metrics
from serving.body import JSON_TYPE, check_headers, read_body
from serving.refusals import BAD_REQUEST, DEADLINE_PASSED, NOT_READY, TOO_MANY, Refused, shown

VERSION_HEADER: Final = "X-Springtide-Version"
TIMEOUT_HEADER: Final = "X-Springtide-Timeout-Ms"
LONGEST_TIMEOUT_MS: Final = 3_600_000
# Threads that parse, look up and predict, so that health checks are answered meanwhile.
WORKERS: Final = 2
# Requests that may wait for those threads; more would only grow old.
MOST_WAITING: Final = 64
# A client that sends its body more slowly than this is let go.
BODY_WITHIN_S: Final = 10.0
REQUEST_TIMEOUT: Final = 408
SERVER_ERROR: Final = 500
CLIENT_CLOSED: Final = 499

Answer = TypeVar("Answer")
Handler = Callable[[Request], Awaitable[Response]]

_log = logger()


class Answering:
    """What all endpoints share. Its own state is touched by the event loop's thread alone."""

    def __init__(self, *, max_body: int, metrics: Metrics, clock: Clock) -> None:
        """Starts the threads lazily.

        Args:
            max_body: Most bytes of a body.
            metrics: Of this process.
            clock: Times the requests.
        """
        self._max_body = max_body
        self._metrics = metrics
        self._clock = clock
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="predict")
        self._in_flight = 0

    async def body(self, request: Request) -> bytes:
        """The whole body of ``request``.

        Raises:
            Refused: It is too large, too slow, or of a media type that nobody here reads.
        """
        check_headers(request.headers, self._max_body)
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                return await read_body(request.stream(), self._max_body)
        except TimeoutError as error:
            raise Refused(
                "the body did not arrive", status=REQUEST_TIMEOUT, wanted=f"all of it within {BODY_WITHIN_S:g} s"
            ) from error

    async def compute(self, work: Callable[[], Answer], within_s: float | None = None) -> Answer:
        """Runs ``work`` on a thread of its own.

        Args:
            work: What to do.
            within_s: How long the asker waits; what has not had its turn by then is not begun.

        Raises:
            Refused: Too many requests wait already, or the asker has stopped waiting.
        """
        if self._in_flight >= WORKERS + MOST_WAITING:
            raise Refused(
                f"{self._in_flight} requests wait already", status=TOO_MANY, cure="send less at once, or add replicas"
            )
        self._in_flight += 1
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except TimeoutError as error:
            raise Refused(
                f"there is no answer within {within_s:g} s", status=DEADLINE_PASSED, cure="wait longer, or add replicas"
            ) from error
        finally:
            self._in_flight -= 1

    def endpoint(self, protocol: str, handler: Handler) -> Handler:
        """``handler`` with its errors turned into answers, counted and timed under ``protocol``."""

        async def answered(request: Request) -> Response:
            began = self._clock.monotonic()
            try:
                response = await handler(request)
            except SpringtideError as error:
                response = refusal(error)
            except ClientDisconnect:
                response = Response(status_code=CLIENT_CLOSED)
            except Exception as error:  # noqa: BLE001 - the asker gets a 500, the log the whole of it
                _log.error("request_failed", path=request.url.path, error=error)
                response = error_response(SERVER_ERROR, "internal error; see the replica's log")
            code = str(response.status_code)
            self._metrics.inc("springtide_replica_requests_total", protocol=protocol, code=code)
            self._metrics.observe(
                "springtide_replica_request_seconds", self._clock.monotonic() - began, protocol=protocol
            )
            return response

        return answered

    def close(self) -> None:
        """Ends the threads once their work is done."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def timeout_asked(request: Request) -> float | None:
    """Seconds that the asker waits, by its header; None where it does not say.

    Raises:
        Refused: The header is no number of milliseconds.
    """
    text = request.headers.get(TIMEOUT_HEADER)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 0 < int(text) <= LONGEST_TIMEOUT_MS):
        raise Refused(f"{TIMEOUT_HEADER} is {shown(text)}", wanted=f"1 to {LONGEST_TIMEOUT_MS} milliseconds")
    return int(text) / 1000


def json_response(body: object, status: int = 200, version: int | None = None) -> Response:
    """``body`` as JSON."""
    return raw_response(orjson.dumps(body), version, status=status)


def raw_response(
    content: bytes,
    version: int | None,
    media_type: str = JSON_TYPE,
    status: int = 200,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """Bytes that are ready to go, with the version that made them."""
    made_by = {} if version is None else {VERSION_HEADER: str(version)}
    return Response(content, status_code=status, media_type=media_type, headers={**headers, **made_by})


def error_response(status: int, message: str) -> Response:
    """An error in the form that both protocols share."""
    return json_response({"error": message}, status)


def refusal(error: SpringtideError) -> Response:
    """``error`` as an answer; one of our own making is logged and not told."""
    if isinstance(error, Refused):
        return error_response(error.status, str(error))
    if isinstance(error, Unavailable):
        return error_response(NOT_READY, str(error))
    if isinstance(error, Invalid):
        return error_response(BAD_REQUEST, str(error))
    _log.error("request_failed", error=error if isinstance(error, Bug) else str(error))
    return error_response(SERVER_ERROR, "internal error; see the replica's log")
