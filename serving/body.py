"""Reads the body of a request within its limits; knows HTTP's headers and no protocol."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson

from serving.refusals import TOO_LARGE, WRONG_MEDIA_TYPE, Refused, shown

JSON_TYPE = "application/json"
BINARY_TYPE = "application/octet-stream"
# curl's default for `-d`, which TensorFlow Serving's own examples send.
FORM_TYPE = "application/x-www-form-urlencoded"
MEDIA_TYPES = ("", JSON_TYPE, BINARY_TYPE, FORM_TYPE)


def check_headers(headers: Mapping[str, str], limit: int) -> None:
    """Refuses a body by its headers, before a byte of it is read.

    Args:
        headers: Names in lower case.
        limit: Most bytes of a body.

    Raises:
        Refused: The media type is none of ``MEDIA_TYPES``, the body is encoded, or it is too large.
    """
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() not in MEDIA_TYPES or charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Refused(
            f"content-type is {shown(headers['content-type'])}", status=WRONG_MEDIA_TYPE, wanted=f"{JSON_TYPE} in UTF-8"
        )
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Refused(f"content-encoding is {shown(encoding)}", status=WRONG_MEDIA_TYPE, wanted="an unencoded body")
    length = headers.get("content-length", "0")
    if length.isascii() and length.isdecimal() and (len(length) > 15 or int(length) > limit):
        raise _too_large(limit)


async def read_body(stream: AsyncIterator[bytes], limit: int, hold: Callable[[int], None]) -> bytes:
    """The whole body.

    Args:
        stream: Its parts as they arrive.
        limit: Most bytes of a body.
        hold: Told of the bytes of each part; raises where there is no room for them.

    Raises:
        Refused: More than ``limit`` bytes arrive.
    """
    parts: list[bytes] = []
    size = 0
    async for part in stream:
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        hold(len(part))
        parts.append(part)
    return b"".join(parts)


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        Refused: The bytes are no JSON, or not an object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(f"the body is not JSON: {error}", wanted="a JSON object in UTF-8") from error
    if not isinstance(value, dict):
        raise Refused(f"the body is {shown(value)}", wanted="a JSON object")
    return value


def _too_large(limit: int) -> Refused:
    return Refused(
        f"the body is larger than {limit} bytes",
        status=TOO_LARGE,
        wanted="at most serving.max_body",
        cure="send fewer candidates per request, or raise serving.max_body",
    )
