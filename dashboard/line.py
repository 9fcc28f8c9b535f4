"""One kept HTTP connection to one address, for small answers that are wanted often; must not know what is asked."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httptools

from infra.clock import Clock

MOST_BYTES: Final = 4 << 20
PIECE: Final = 1 << 16
_PORTS: Final = {"http": 80, "https": 443}


class Line:
    """A connection that is opened when it is needed and kept while the other side keeps it.

    A client library's own work is most of so small a question. For one thread at a time.

    Args:
        url: The base address.
        clock: Passes the time.
        address: The IP address to go to; None: whatever the host's name stands for.
        timeout_s: How long one question may take.
    """

    def __init__(self, url: str, clock: Clock, *, address: str | None = None, timeout_s: float) -> None:
        self._url = url
        self._clock = clock
        self._address = address
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None

    def get(self, path: str) -> bytes:
        """The body of ``path``, which is put behind the base address's own.

        Raises:
            OSError: Nothing answers there, or not in time.
            ValueError: The address is none, or the answer is none, is refused or too long.
        """
        place = urlsplit(self._url)
        if place.scheme not in _PORTS or not place.hostname:
            raise ValueError(f"{self._url} is no http address")
        kept = self._socket is not None
        try:
            return self._ask(place, path)
        except ConnectionError:
            if not kept:
                raise
        return self._ask(place, path)  # a kept connection may have ended meanwhile

    def close(self) -> None:
        """Ends the connection; the next question opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, place: SplitResult, path: str) -> bytes:
        until = self._clock.monotonic() + self._timeout_s
        try:
            line = self._opened(place)
            line.settimeout(self._timeout_s)
            host, at = place.netloc.rpartition("@")[2], place.path.rstrip("/")
            request = f"GET {at}{path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n"
            line.sendall(request.encode("latin-1"))
            answer, received = _Answer(), 0
            parser = httptools.HttpResponseParser(answer)
            answer.keeps = parser.should_keep_alive
            while not answer.complete:
                line.settimeout(max(0.001, until - self._clock.monotonic()))
                piece = line.recv(PIECE)
                received += len(piece)
                if received > MOST_BYTES:
                    raise ValueError(f"{path} has more than {MOST_BYTES} bytes")
                if piece:
                    parser.feed_data(piece)
                elif answer.begun and not answer.framed:
                    break  # it names no length: the connection's end is its end
                else:
                    raise ConnectionResetError("the connection ended before the answer")
            if parser.get_status_code() != HTTPStatus.OK:
                raise ValueError(f"{path} answered {parser.get_status_code()}")
            if not answer.kept:
                self.close()
        except httptools.HttpParserError as error:
            self.close()
            raise ValueError(f"{path} did not answer in HTTP: {error}") from None
        except BaseException:
            self.close()
            raise
        return b"".join(answer.pieces)

    def _opened(self, place: SplitResult) -> socket.socket:
        if self._socket is None:
            host = place.hostname or ""
            plain = socket.create_connection(
                (self._address or host, place.port or _PORTS[place.scheme]), self._timeout_s
            )
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = plain
            if place.scheme == "https":
                self._tls = self._tls or ssl.create_default_context()
                self._socket = self._tls.wrap_socket(plain, server_hostname=host)
        return self._socket


class _Answer:
    """What the parser has found so far."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.begun = False
        self.framed = False
        self.complete = False
        self.kept = False
        self.keeps: Callable[[], bool] = bool

    def on_header(self, name: bytes, _: bytes) -> None:
        self.framed |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self.begun = True

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        self.complete = True
        # The parser knows it only until it has told of the end; let go, so that the two do not hold each other.
        self.kept, self.keeps = self.keeps(), bool
