"""JSON documents that carry their own checksum: manifests, bases, decisions; must not know what they say."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from checkpointing import layout
from infra.errors import Corrupt, Invalid

# Of manifests, decisions, leases and entries of the boundary; a base may be larger, it lists every part.
MAX_BYTES: Final = 16 << 20
_START: Final = b',"sha256":"'
_CHECKSUM_BYTES: Final = len(_START) + 64 + 2

Document = TypeVar("Document", bound=BaseModel)


def to_signed_json(document: BaseModel) -> bytes:
    """The bytes of the object, its checksum as the last member."""
    body = orjson.dumps(document.model_dump())
    return body[:-1] + _tail(body)


def from_signed_json(kind: type[Document], data: bytes, *, what: str, where: str, most: int = MAX_BYTES) -> Document:
    """Reads what :func:`to_signed_json`, or another writer of the format, wrote.

    Args:
        kind: What the document must be.
        data: The object's bytes.
        what: The document's name in messages, such as ``manifest``.
        where: The object's key.
        most: The largest size in bytes.

    Raises:
        Corrupt: The bytes are not such a document, or not the one that was written.
        Invalid: It has a newer format.
    """
    if len(data) > most:
        raise Corrupt(f"{what} of {len(data)} bytes", wanted=f"at most {most}", where=where)
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Corrupt(f"{what} is not JSON: {error}", where=where) from error
    refuse_newer_format(document, what, where)
    body, tail = data[:-_CHECKSUM_BYTES] + b"}", data[-_CHECKSUM_BYTES:]
    if tail != _tail(body):
        raise Corrupt(
            f"{what} does not have the checksum that it names",
            cure="restore the object from a copy of the store",
            where=where,
        )
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or what
        raise Corrupt(f"{field}: {first['msg']}", wanted=f"a {what} as in FORMAT.md", where=where) from error


def refuse_newer_format(document: Any, what: str, where: str) -> None:
    """Stops before anything of a newer format is interpreted.

    Raises:
        Invalid: ``document`` is of a newer format.
        Corrupt: It is not an object with a format.
    """
    number = document.get("format") if isinstance(document, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise Corrupt(f"{what} has format {number!r}", wanted=f"a number up to {layout.FORMAT}", where=where)
    if number > layout.FORMAT:
        raise Invalid(
            f"{what} has format {number}",
            wanted=f"{layout.FORMAT} or older",
            cure="upgrade this program; replicas first, then the learner",
            where=where,
        )


def _tail(body: bytes) -> bytes:
    return _START + hashlib.sha256(body).hexdigest().encode() + b'"}'
