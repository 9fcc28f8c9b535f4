"""Runs one request to its answer: limits, turns, errors as JSON, figures; knows no protocol's form."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Final, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from infra.clock import Clock
from infra.metrics import Metrics
from serving.body import JSON_TYPE, check_headers, read_body
from serving.refusals import DEADLINE_PASSED, TOO_MANY, Refused, outcome_of, shown

VERSION_HEADER: Final = "X-Springtide-Version"
TIMEOUT_HEADER: Final = "X-Springtide-Timeout-Ms"
LONGEST_TIMEOUT_MS: Final = 3_600_000
# Threads that parse, look up and predict what takes long, so that health checks are answered meanwhile.
WORKERS: Final = 2
# Requests that may wait for their turn; more would only grow old.
MOST_WAITING: Final = 64
# While short work takes longer than this, it goes to the threads: sockets, timers and health checks would wait for it.
LONGEST_SHORT_S: Final = 0.005
# Of each new duration so much goes into the smoothed one; as much of it is forgotten for each work in the threads.
SMOOTHING: Final = 1 / 16
# What has waited longer than this for its turn is refused: who asked has mostly given up, and the next is later still.
LONGEST_WAIT_S: Final = 1.0
# Bodies that are arriving or being answered, in bodies of the largest size.
MOST_BODIES: Final = 16
# A client that sends its body more slowly than this is let go.
BODY_WITHIN_S: Final = 10.0
REQUEST_TIMEOUT: Final = 408
CLIENT_CLOSED: Final = 499

Answer = TypeVar("Answer")
Handler = Callable[[Request], Awaitable[Response]]


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
        self._held_bytes = 0
        # Short work that waits, oldest first; while there is any, `_answer_short` is called soon.
        self._short: deque[Callable[[], None]] = deque()
        self._short_s = 0.0

    async def body(self, request: Request) -> bytes:
        """The whole body of ``request``, which counts as held here until the request is answered.

        Raises:
            Refused: It is too large, too slow, or of a media type that nobody here reads; or too many bodies are here.
        """
        check_headers(request.headers, self._max_body)

        def hold(size: int) -> None:
            self.hold(size)
            request.state.held_bytes = getattr(request.state, "held_bytes", 0) + size

        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                return await read_body(request.stream(), self._max_body, hold)
        except TimeoutError as error:
            raise Refused(
                "the body did not arrive", status=REQUEST_TIMEOUT, wanted=f"all of it within {BODY_WITHIN_S:g} s"
            ) from error

    def hold(self, size: int) -> None:
        """Counts bytes of a body that has come, until :meth:`release`.

        Raises:
            Refused: Too many are here.
        """
        if self._held_bytes + size > MOST_BODIES * self._max_body:
            raise Refused(
                f"bodies of {self._held_bytes} bytes are here already",
                status=TOO_MANY,
                cure="send less at once, or add replicas",
            )
        self._held_bytes += size

    def release(self, size: int) -> None:
        """Counts bytes of a body no longer."""
        self._held_bytes -= size

    async def compute(self, work: Callable[[], Answer], within_s: float | None = None) -> Answer:
        """Runs ``work`` on a thread of its own.

        Args:
            work: What to do.
            within_s: How long the asker waits; what has not had its turn by then is not begun.

        Raises:
            Refused: Too many requests wait already, this one has waited too long, or the asker has stopped waiting.
        """
        in_turn = self._in_turn(work)
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.get_running_loop().run_in_executor(self._pool, in_turn)
        except TimeoutError as error:
            raise Refused(
                f"there is no answer within {within_s:g} s", status=DEADLINE_PASSED, cure="wait longer, or add replicas"
            ) from error
        finally:
            self._in_flight -= 1

    def submit(
        self,
        protocol: str,
        path: str,
        work: Callable[[], Response],
        done: Callable[[Response], None],
        *,
        short: bool = False,
    ) -> None:
        """What :meth:`endpoint` and :meth:`compute` do, without a coroutine, for work that needs to wait for nothing.

        Args:
            protocol: To count under.
            path: What was asked for, for the log.
            work: What to do; runs on a thread of its own unless it is short.
            done: Takes the answer, be it a refusal; called once, in the event loop's thread.
            short: Whether it should be over so soon that it runs in the event loop's thread, one between two looks at
                the sockets: threads that wake each other and pass the interpreter's lock on cost more than a small
                answer. As long as such work takes longer than :data:`LONGEST_SHORT_S`, threads run it, too.
        """
        began = self._clock.monotonic()
        loop = asyncio.get_running_loop()

        def ended(response: Response) -> None:
            self._in_flight -= 1
            self._count(protocol, response, began)
            done(response)

        def answered() -> Response:
            try:
                return in_turn()
            except Exception as error:  # noqa: BLE001 - the asker gets a 500, the log the whole of it
                return error_response(*outcome_of(error, path))

        def run() -> None:
            response = answered()
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                loop.call_soon_threadsafe(ended, response)

        try:
            in_turn = self._in_turn(work)
        except Refused as error:
            response = error_response(*outcome_of(error, path))
            self._count(protocol, response, began)
            done(response)
            return
        if short and self._short_s <= LONGEST_SHORT_S:
            self._short.append(lambda: ended(answered()))
            if len(self._short) == 1:
                loop.call_soon(self._answer_short, loop)
            return
        if short:
            self._short_s *= 1 - SMOOTHING
        self._pool.submit(run)

    def _answer_short(self, loop: asyncio.AbstractEventLoop) -> None:
        work = self._short.popleft()
        if self._short:
            loop.call_soon(self._answer_short, loop)
        began = self._clock.monotonic()
        work()
        self._short_s += SMOOTHING * (self._clock.monotonic() - began - self._short_s)

    def _in_turn(self, work: Callable[[], Answer]) -> Callable[[], Answer]:
        """``work`` as it is to be run, counted as under way from now on."""
        if self._in_flight >= WORKERS + MOST_WAITING:
            raise Refused(
                f"{self._in_flight} requests wait already", status=TOO_MANY, cure="send less at once, or add replicas"
            )
        self._in_flight += 1
        came = self._clock.monotonic()

        def in_turn() -> Answer:
            waited_s = self._clock.monotonic() - came
            if waited_s > LONGEST_WAIT_S:
                raise waited_too_long(waited_s)
            return work()

        return in_turn

    def endpoint(self, protocol: str, handler: Handler) -> Handler:
        """``handler`` with its errors turned into answers, counted and timed under ``protocol``."""

        async def answered(request: Request) -> Response:
            began = self._clock.monotonic()
            try:
                response = await handler(request)
            except ClientDisconnect:
                response = Response(status_code=CLIENT_CLOSED)
            except Exception as error:  # noqa: BLE001 - the asker gets a 500, the log the whole of it
                response = error_response(*outcome_of(error, request.url.path))
            finally:
                self.release(getattr(request.state, "held_bytes", 0))
            self._count(protocol, response, began)
            return response

        return answered

    def _count(self, protocol: str, response: Response, began: float) -> None:
        spent = self._clock.monotonic() - began
        self._metrics.inc("springtide_replica_requests_total", protocol=protocol, code=str(response.status_code))
        self._metrics.observe("springtide_replica_request_seconds", spent, protocol=protocol)

    def close(self) -> None:
        """Ends the threads once their work is done."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def waited_too_long(waited_s: float) -> Refused:
    """Why what has waited so long for its turn is not computed."""
    return Refused(
        f"the request has waited {waited_s:.1f} s for its turn",
        status=TOO_MANY,
        wanted=f"at most {LONGEST_WAIT_S:g} s",
        cure="send less at once, or add replicas",
    )


def timeout_asked(headers: Mapping[str, str]) -> float | None:
    """Seconds that the asker waits, by its header; None where it does not say.

    Args:
        headers: Of the request; names in any case.

    Raises:
        Refused: The header is no number of milliseconds.
    """
    text = headers.get(TIMEOUT_HEADER)
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
