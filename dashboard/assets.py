"""The page's files, read and compressed once; must not know what they show."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

FOLDER: Final = Path(__file__).parent / "static"
INDEX: Final = "index.html"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page."""

    type: str
    plain: bytes
    packed: bytes
    etag: str


def load(folder: Path = FOLDER) -> Mapping[str, Asset]:
    """Every file of the page by its path below ``folder``; what is no part of the page is left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in TYPES:
            plain = path.read_bytes()
            etag = f'"{hashlib.sha256(plain).hexdigest()[:20]}"'
            packed = gzip.compress(plain, 9, mtime=0)
            found[path.relative_to(folder).as_posix()] = Asset(TYPES[path.suffix], plain, packed, etag)
    return found


def answer(asset: Asset, request: Request) -> Response:
    """``asset`` in the form that the browser takes; unchanged files cost one short answer."""
    headers = {"ETag": asset.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=asset.type)
    return Response(asset.plain, headers=headers, media_type=asset.type)
