"""Documents and packs with any bytes changed: a clear error or the very same meaning, never a crash or a long read."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from checkpointing.base import Base
from checkpointing.boundary import Boundary
from checkpointing.control import Decision
from checkpointing.lease import LeaseNote
from checkpointing.manifest import Manifest
from checkpointing.signed import from_signed_json, to_signed_json
from checkpointing.unpack import unpack
from infra.errors import Corrupt, Invalid
from tests.checkpointing.test_corruption import DATA, FILE, MANIFEST, signed
from tests.long_run import record

GOLDEN = Path(__file__).parent / "golden" / "format-2"
CASES, ALL_CASES, BLOCKS = 3_000, 1_000_000, 10
ODD: list[Any] = [None, True, -1, 0, 1, 2**40, 2**63 - 1, 2**63, 0.5, "", "x", "../../etc/passwd", [], {}, [[]], "int8"]
DOCUMENTS: list[tuple[type[BaseModel], bytes]] = [
    (Manifest, (GOLDEN / "manifests" / f"{5:020d}.json").read_bytes()),
    (Base, (GOLDEN / "bases" / f"{2:020d}.json").read_bytes()),
    (Decision, (GOLDEN / "control" / f"{1:020d}.json").read_bytes()),
    (Boundary, to_signed_json(Boundary(version=7, kept=(3,)))),
    (LeaseNote, to_signed_json(LeaseNote(version=7, base_only=False, holder="a"))),
]


def flipped(draw: random.Random, data: bytes) -> bytes:
    """Some bytes changed, cut off, or put in twice."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 8])):
        at, kind = draw.randrange(len(changed)), draw.random()
        if kind < 0.6:
            changed[at] = draw.randrange(256)
        elif kind < 0.8:
            changed[at : at + draw.choice([1, 4, 8])] = draw.choice([b"\0" * 8, b"\xff" * 8, b""])
        elif kind < 0.9:
            del changed[at:]
        else:
            changed[at:at] = changed[: draw.randrange(1, 65)]
        if not changed:
            return b""
    return bytes(changed)


def rewritten(draw: random.Random, data: bytes) -> bytes:
    """Some value of the document replaced or dropped, and the checksum made anew: a writer that means it."""
    document = orjson.loads(data)
    del document["sha256"]
    for _ in range(draw.choice([1, 1, 3])):
        holder: Any = document
        while True:
            places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not places:
                break
            place = draw.choice(places)
            if isinstance(holder[place], dict | list) and holder[place] and draw.random() < 0.8:
                holder = holder[place]
                continue
            if draw.random() < 0.2:
                del holder[place]
            else:
                holder[place] = draw.choice(ODD)
            break
    body = orjson.dumps(document, default=str) if _fits(document) else b"{}"
    return body[:-1] + b',"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'


def _fits(document: Any) -> bool:
    try:
        orjson.dumps(document)
    except TypeError:
        return False
    return True


def fuzz(seed: int, cases: int) -> int:
    """Runs so many cases; returns how many were refused."""
    draw = random.Random(seed)
    refused = 0
    for _ in range(cases):
        if draw.random() < 0.3:
            data = flipped(draw, DATA)
            try:
                unpack(signed(data), {FILE.key: data}, serving_only=False)
            except (Corrupt, Invalid) as error:
                refused += 1
                assert FILE.key in str(error) or "table" in str(error)
            continue
        kind, good = draw.choice(DOCUMENTS)
        data = (flipped if draw.random() < 0.4 else rewritten)(draw, good)
        try:
            document = from_signed_json(kind, data, what="document", where="here")
        except (Corrupt, Invalid) as error:
            refused += 1
            assert str(error).startswith("here  ")
            continue
        if isinstance(document, Manifest):
            try:
                unpack(document, {file.key: DATA for file in document.files}, serving_only=False)
            except (Corrupt, Invalid):
                refused += 1
    return refused


def test_the_untouched_documents_are_read() -> None:
    for kind, data in DOCUMENTS:
        from_signed_json(kind, data, what="document", where="here")
    assert unpack(MANIFEST, {FILE.key: DATA}, serving_only=False).tables


def test_fuzzed() -> None:
    assert fuzz(0, CASES) > CASES // 2


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_fuzzed_a_million_times(block: int) -> None:
    """The block is the seed."""
    fuzz(block + 1, ALL_CASES // BLOCKS)
    record("fuzzed_documents_and_packs", block + 1, ALL_CASES // BLOCKS)
