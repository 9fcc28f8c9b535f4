"""Knows by its first bytes a request that needs no web framework: a plain question to the model; reads no body.

Who asks sends the same first lines again and again: what they say is remembered. What is not plain (another path, a
deadline, a body in chunks, anything wrong) is left to the framework, which says what it means.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import httptools
from starlette.datastructures import Headers

from serving.answering import TIMEOUT_HEADER
from serving.body import check_headers
from serving.inference import Asked, Inference, Protocol
from serving.refusals import Refused

# As serving.endpoints routes them, without anything that would have to be decoded.
PATHS: Final[tuple[tuple[Protocol, re.Pattern[str]], ...]] = (
    ("v2", re.compile(r"/v2/models/([\w.-]+)(?:/versions/(\d+))?/infer", re.ASCII)),
    ("v1", re.compile(r"/v1/models/([\w.-]+)(?:/versions/(\d+))?:predict", re.ASCII)),
)
METHOD: Final = b"POST /v"
# Heads beyond this are left to the framework.
LARGEST_HEAD: Final = 4096
MOST_HEADS: Final = 256
NOT_PLAIN: Final = frozenset({"transfer-encoding", "expect", "upgrade", TIMEOUT_HEADER.lower()})


@dataclass(frozen=True)
class PlainHead:
    """What a head says.

    Attributes:
        asked: Of the model.
        path: As it stands there.
        length: Bytes of the body.
    """

    asked: Asked
    path: str
    length: int


class PlainHeads:
    """Of one replica, for the thread that reads connections."""

    def __init__(self, inference: Inference, max_body: int) -> None:
        """Sets up.

        Args:
            inference: Knows what may be asked.
            max_body: Most bytes of a body.
        """
        self._inference = inference
        self._max_body = max_body
        self._known: dict[bytes, PlainHead | None] = {}

    def read(self, head: bytes) -> PlainHead | None:
        """What a head says, from the method to the empty line; None where it is not plain."""
        try:
            return self._known[head]
        except KeyError:
            found = self._read(head)
            if len(self._known) >= MOST_HEADS:
                del self._known[next(iter(self._known))]
            self._known[head] = found
            return found

    def _read(self, head: bytes) -> PlainHead | None:
        parts = _Parts()
        parser = httptools.HttpRequestParser(parts)
        try:
            parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        headers = Headers(raw=parts.headers)
        length = headers.get("content-length", "")
        plain = parts.complete and parser.get_method() == b"POST" and parser.get_http_version() == "1.1"
        if not (plain and _are_plain(headers) and length.isascii() and length.isdecimal() and len(length) < 16):
            return None
        asked = self._asked(parts.url.decode("latin-1"), headers)
        return None if asked is None else PlainHead(*asked, int(length))

    def _asked(self, path: str, headers: Headers) -> tuple[Asked, str] | None:
        for protocol, pattern in PATHS:
            found = pattern.fullmatch(path)
            if found is not None:
                try:
                    check_headers(headers, self._max_body)
                    return self._inference.asked(protocol, found[1], found[2], headers), path
                except Refused:
                    return None
        return None


def _are_plain(headers: Headers) -> bool:
    names = headers.keys()
    once = set(names)
    kept = headers.get("connection", "keep-alive").lower() == "keep-alive"
    return kept and len(once) == len(names) and NOT_PLAIN.isdisjoint(once)


class _Parts:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, part: bytes) -> None:
        self.url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete = True
