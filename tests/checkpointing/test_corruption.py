"""Whatever bytes come back, the answer is Corrupt or Invalid with file and field, or the very same content."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpointing import layout
from checkpointing.content import Content
from checkpointing.manifest import Manifest
from checkpointing.unpack import unpack
from infra.errors import Corrupt, Invalid
from tests.checkpointing.reference import table
from tests.checkpointing.test_pack import manifest_of, packed, read

CONTENT = Content(
    tables=[table("item", {1: 1, -5: 2, 9: 3}, gone=[7, 8]), table("user", {4: 4})],
    dense={"w": np.arange(6, dtype=np.float32).reshape(2, 3), "flag": np.array([True, False])},
    statistics={"n": np.array(3)},
    dense_optimizer={"m": np.ones(2)},
    sample_ids={"h": np.arange(3, dtype=np.uint64)},
)
PACKS = packed(CONTENT)
MANIFEST = manifest_of(PACKS)
FILE = PACKS[0].file
DATA = bytes(PACKS[0].data)


def signed(data: bytes) -> Manifest:
    """The manifest of a writer that meant these bytes: only the fields inside are wrong, not the checksums."""
    assert FILE.serving is not None
    prefix = FILE.serving.model_copy(update={"sha256": hashlib.sha256(data[: FILE.serving.bytes]).hexdigest()})
    file = FILE.model_copy(update={"sha256": hashlib.sha256(data).hexdigest(), "serving": prefix})
    return MANIFEST.model_copy(update={"files": (file,)})


mutations = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, len(DATA) * 8 - 1)),
    st.tuples(st.just("cut"), st.integers(0, len(DATA) - 1)),
    st.tuples(st.just("extend"), st.integers(1, 200)),
    st.tuples(st.just("zero"), st.integers(0, len(DATA) - 1)),
)


def mutated(data: bytes, how: str, where: int) -> bytes:
    if how == "cut":
        return data[:where]
    if how == "extend":
        return data + bytes(where)
    changed = bytearray(data)
    if how == "zero":
        changed[where : where + 16] = bytes(len(changed[where : where + 16]))
    else:
        changed[where // 8] ^= 1 << (where % 8)
    return bytes(changed)


@settings(deadline=None)
@given(mutations)
def test_a_changed_pack_is_refused(mutation: tuple[str, int]) -> None:
    data = mutated(DATA, *mutation)
    for serving_only in (False, True):
        try:
            unpack(MANIFEST, {FILE.key: data}, serving_only=serving_only)
        except (Corrupt, Invalid) as error:
            assert FILE.key in str(error)
        else:
            assert data == DATA


@settings(max_examples=300, deadline=None)
@given(mutations)
def test_a_changed_pack_with_right_checksums_does_no_harm(mutation: tuple[str, int]) -> None:
    data = mutated(DATA, *mutation)
    try:
        unpack(signed(data), {FILE.key: data}, serving_only=False)
    except (Corrupt, Invalid) as error:
        assert FILE.key in str(error) or "table" in str(error)


def header(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:offset] + value + data[offset + len(value) :]


FIELDS = {
    "magic": header(0, b"SPRTPACX"),
    "bytes": header(16, (2**60).to_bytes(8, "little")),
    "serving bytes": header(24, (2**60).to_bytes(8, "little")),
    "sections": header(32, (2**31).to_bytes(4, "little")),
    "hash function": header(36, (9).to_bytes(4, "little")),
    "attempt": header(40, bytes(16)),
    "rows item: magic": header(64, b"XXXX"),
    "rows item: role": header(68, b"\x05"),
    "rows item: rows": header(64 + 16, (2**62).to_bytes(8, "little")),
    "rows item: tombstones": header(64 + 24, (2**62).to_bytes(8, "little")),
    "rows item: columns": header(64 + 32, (2**62).to_bytes(8, "little")),
    "rows item: name": header(64 + 40, bytes(8)),
    "hash order": lambda data: data[:128] + data[136:144] + data[128:136] + data[144:],
    "tags": header(192, b"\x55"),
}


@pytest.mark.parametrize("field", FIELDS)
def test_the_message_names_file_and_field(field: str) -> None:
    data = FIELDS[field](DATA)
    assert len(data) == len(DATA)
    with pytest.raises(Corrupt) as caught:
        unpack(signed(data), {FILE.key: data}, serving_only=False)
    text = str(caught.value)
    assert field.rsplit(": ", maxsplit=1)[-1] in text
    assert FILE.key in text or "table item" in text


def test_a_newer_pack_asks_for_an_upgrade() -> None:
    data = header(8, (3).to_bytes(4, "little"))(DATA)
    with pytest.raises(Invalid, match="format 3") as caught:
        unpack(signed(data), {FILE.key: data}, serving_only=False)
    assert "upgrade" in caught.value.cure


# Manifests

JSON = MANIFEST.to_json()


@settings(deadline=None)
@given(
    st.one_of(
        st.tuples(st.just("flip"), st.integers(0, len(JSON) * 8 - 1)),
        st.tuples(st.just("cut"), st.integers(0, len(JSON) - 1)),
        st.tuples(st.just("extend"), st.integers(1, 9)),
    )
)
def test_a_changed_manifest_is_refused(mutation: tuple[str, int]) -> None:
    data = mutated(JSON, *mutation)
    with pytest.raises((Corrupt, Invalid)) as caught:
        Manifest.from_json(data, where="manifests/3.json")
    assert "manifests/3.json" in str(caught.value)


def resigned(document: Any) -> bytes:
    """The document as a writer would sign it."""
    if isinstance(document, dict):
        document.pop("sha256", None)
    body = orjson.dumps(document)
    return body[:-1] + b',"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    if isinstance(document, dict):
        for key, value in document.items():
            found += places(value, (*at, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            found += places(value, (*at, index))
    return found


PLACES = places(orjson.loads(JSON))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
    | st.sampled_from(["../../x", "versions/3/1-x/pack", "/etc/passwd", 2**40, 2**62, -1, "rows", "float64", []]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLACES), values, st.booleans())
def test_a_wrong_value_anywhere_is_refused_or_harmless(place: tuple[Any, ...], value: Any, drop: bool) -> None:
    document = orjson.loads(JSON)
    holder = document
    for step in place[:-1]:
        holder = holder[step]
    if drop:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    try:
        manifest = Manifest.from_json(resigned(document), where="manifests/3.json")
        unpack(manifest, {file.key: DATA for file in manifest.files}, serving_only=False)
    except (Corrupt, Invalid):
        return
    assert {file.key for file in manifest.files} <= {FILE.key}


@settings(deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_no_bytes_are_a_manifest_by_accident(data: bytes) -> None:
    with pytest.raises((Corrupt, Invalid)):
        Manifest.from_json(data)


@pytest.mark.parametrize(
    "data", [b"", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b'"\\ud800"', b"null", b"\xff"]
)
def test_hostile_json_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        Manifest.from_json(data)


def test_a_manifest_beyond_all_measure_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="at most"):
        Manifest.from_json(b" " * (17 << 20))


KEYS = [
    "../../etc/passwd",
    "/versions/3/1-" + "0" * 32 + "/pack",
    FILE.key.replace("versions/3", "versions/4"),
    FILE.key.replace("/1-", "/2-"),
    FILE.key + "/../x",
    FILE.key.replace("pack", "other.pack"),
    FILE.key + "\n",
    "manifests/00000000000000000003.json",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_elsewhere_is_refused(key: str) -> None:
    document = orjson.loads(JSON)
    document["files"][0]["key"] = key
    with pytest.raises(Corrupt):
        Manifest.from_json(resigned(document))


def test_absurd_sizes_allocate_nothing() -> None:
    document = orjson.loads(JSON)
    huge = 1 << 39
    part = document["files"][0]["ranges"][2]  # the array `w`
    part["shape"], part["dtype"] = [huge], "uint8"
    growth = layout.section_bytes("dense", "uint8", (huge,), 0) - part["bytes"]
    part["bytes"] += growth
    for later in document["files"][0]["ranges"][3:]:
        later["offset"] += growth
    document["files"][0]["bytes"] += growth
    document["files"][0]["serving"]["bytes"] += growth
    manifest = Manifest.from_json(resigned(document))
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt, match=f"wanted {manifest.files[0].bytes} bytes"):
            unpack(manifest, {FILE.key: DATA}, serving_only=False)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(Corrupt):
        document["files"][0]["ranges"][2]["shape"] = [0, 1 << 62]
        Manifest.from_json(resigned(document))


def test_the_untouched_content_is_read() -> None:
    assert [rows.table for rows in read(PACKS).tables] == ["item", "user"]
