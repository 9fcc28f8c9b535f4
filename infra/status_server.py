"""Answers /metrics, /healthz, /readyz and /status of one process; knows no room, only what it is given to ask."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import errno
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import orjson
from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from infra.errors import Invalid, SpringtideError, Unavailable
from infra.logs import logger
from infra.metrics import Metrics

_log = logger()

# A client that sends nothing must not hold its thread.
CLIENT_TIMEOUT_S: Final = 10
JSON: Final = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
LINE_BYTES: Final = 64 << 10
_BODIES: Final = frozenset({"content-length", "transfer-encoding"})
PATHS: Final = ("/metrics", "/healthz", "/readyz", "/status")


class StatusServer:
    """Serves until closed, in threads of its own.

    ``/healthz`` answers 200 while the process lives; ``/readyz`` 200 or 503 with the reason; ``/status`` JSON.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one, which :attr:`port` then tells.
        metrics: What ``/metrics`` shows.
        status: Gives what ``/status`` shows; called in a server thread, so it must be quick and safe there.
        ready: None when ready, else the reason why not; called likewise.

    Raises:
        Invalid: The port is in use, or the address is not this machine's.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        metrics: Metrics,
        status: Callable[[], Mapping[str, Any]],
        ready: Callable[[], str | None],
    ) -> None:
        self._metrics_app = make_wsgi_app(metrics.registry)
        self._status = status
        self._ready = ready
        self._server = _listen(host, port, self._answer)
        self.host = host
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="status", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address for clients on this machine, such as ``http://127.0.0.1:8600``."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def close(self) -> None:
        """Stops listening; safe to call twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/").rstrip("/") or "/"
        if path == "/metrics" and environ["REQUEST_METHOD"] == "GET":
            answer: Iterable[bytes] = self._metrics_app(environ, start)
            return answer
        status, body = self._page(environ["REQUEST_METHOD"], path)
        data = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
        start(f"{status.value} {status.phrase}", [*JSON, ("Content-Length", str(len(data)))])
        return [data]

    def _page(self, method: str, path: str) -> tuple[HTTPStatus, Mapping[str, Any]]:
        if method != "GET":
            return HTTPStatus.METHOD_NOT_ALLOWED, {"error": "only GET is served here"}
        try:
            if path == "/readyz":
                reason = self._ready()
                status = HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE
                return status, {"ready": reason is None, "reason": reason}
            if path == "/status":
                return HTTPStatus.OK, self._status()
        except Exception as error:  # noqa: BLE001 - the asker gets a 500, the log the whole of it
            _log.error("status_failed", path=path, error=error)
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"{path} could not be made; see the log"}
        if path == "/healthz":
            return HTTPStatus.OK, {"alive": True}
        return HTTPStatus.NOT_FOUND, {"error": f"no such page: {path}", "pages": list(PATHS)}


class _Exchange(ServerHandler):
    http_version = "1.1"


class _Handler(WSGIRequestHandler):
    """Answers one connection's questions, one after the other: a new connection, and a thread for it, cost more."""

    protocol_version = "HTTP/1.1"
    timeout = CLIENT_TIMEOUT_S
    disable_nagle_algorithm = True
    # An answer leaves in one piece: the library writes its head line by line.
    wbufsize = 64 << 10

    def handle(self) -> None:
        """As the library does it, until one side has had enough."""
        self.close_connection = False
        while not self.close_connection:
            self.raw_requestline = self.rfile.readline(LINE_BYTES + 1)
            if len(self.raw_requestline) > LINE_BYTES:
                self.requestline = self.request_version = self.command = ""
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
                return
            if not self.raw_requestline or not self.parse_request():
                return
            # What belongs to any other question would be read as the next one.
            self.close_connection |= self.command != "GET" or bool(_BODIES & {name.lower() for name in self.headers})
            exchange = _Exchange(self.rfile, self.wfile, self.get_stderr(), self.get_environ(), multithread=True)  # type: ignore[arg-type]
            exchange.request_handler = self  # type: ignore[attr-defined]
            exchange.run(self.server.get_app())  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        """Probes and scrapes come every second; they are no events."""


def _listen(host: str, port: int, answer: Callable[..., Iterable[bytes]]) -> Any:
    class Server(ThreadingWSGIServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        request_queue_size = 64

        def __init__(self, *arguments: Any) -> None:
            self._open: set[socket.socket] = set()
            super().__init__(*arguments)

        def server_bind(self) -> None:
            """As the library does it, but without asking the name service for this machine's name, which can hang."""
            socketserver.TCPServer.server_bind(self)
            self.server_name, self.server_port = host, self.server_address[1]
            self.setup_environ()

        def process_request(self, request: Any, client_address: Any) -> None:
            self._open.add(request)
            super().process_request(request, client_address)

        def shutdown_request(self, request: Any) -> None:
            self._open.discard(request)
            super().shutdown_request(request)

        def server_close(self) -> None:
            """Ends what is kept open, too: whoever has been closed answers nobody."""
            super().server_close()
            for request in list(self._open):
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away in the middle is no event either."""

    try:
        return make_server(host, port, answer, server_class=Server, handler_class=_Handler)
    except OSError as error:
        raise listen_error(host, port, error) from None


def require_port(host: str, port: int) -> None:
    """Finds out early what whoever listens there later would find out.

    Raises:
        Invalid: The port is in use, or the address is not this machine's.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            # As every server sets it: connections in TIME_WAIT do not count, a listener does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise listen_error(host, port, error) from None


def listen_error(host: str, port: int, error: OSError) -> SpringtideError:
    """Why a process cannot listen on ``host:port``, with the cure."""
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        cure = "stop the process that has it, or set another `port` in the pipeline (0 takes a free one)"
        return Invalid(f"port {port} is in use", cure=cure, where=where)
    if error.errno in {errno.EADDRNOTAVAIL, errno.EACCES} or isinstance(error, socket.gaierror):
        return Invalid(f"cannot listen: {error.strerror}", cure="correct `host` or `port` in the pipeline", where=where)
    return Unavailable(f"cannot listen: {error.strerror}", where=where)
