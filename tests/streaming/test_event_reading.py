"""A message in any encoding reads as the same event in JSON would; bytes that are no event read as none."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import decimal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.clock import iso
from infra.errors import Invalid, Unavailable
from infra.spec import SchemaRegistry
from streaming.event_reading import AvroReader, ProtobufReader, read_json
from tests.streaming.encodings import (
    AVRO_IMPRESSION,
    Encoder,
    avro_encoder,
    proto_file,
    protobuf_encoder,
    register,
)
from tests.streaming.registry_server import RegistryServer

NAMES = st.text(max_size=8)
LONGS = st.integers(-(2**63), 2**63 - 1)
USERS = st.fixed_dictionaries(
    {"history": st.lists(LONGS, max_size=3)},
    optional={"city": NAMES, "age": st.integers(-(2**31), 2**31 - 1)},
)
EVENTS = st.fixed_dictionaries(
    {"id": NAMES, "at_ms": st.integers(631_152_000_000, 4_102_444_800_000)},
    optional={
        "user": USERS,
        "friend": USERS,
        "item": NAMES,
        "place": LONGS,
        "price": st.floats(width=32, allow_nan=False, allow_infinity=False),
        "mobile": st.booleans(),
        "tags": st.lists(NAMES, min_size=1, max_size=3),
        "device": st.sampled_from(["PHONE", "DESK"]),
        "w": st.floats(allow_nan=False, allow_infinity=False),
    },
)
FRAMES = (b"\0\0\0\0\7\0", b"\0\0\0\0\7\2\2", b"\0\0\1\0\7\4\x80\1\2")


@pytest.fixture(scope="module")
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as found:
        yield found


@pytest.fixture(scope="module")
def registry(server: RegistryServer) -> SchemaRegistry:
    return SchemaRegistry(url=server.url)


@pytest.fixture(scope="module")
def avro(server: RegistryServer, registry: SchemaRegistry) -> tuple[AvroReader, Encoder]:
    number = register(server.settings, "impressions-value", AVRO_IMPRESSION)
    return AvroReader(registry), avro_encoder(number, AVRO_IMPRESSION)


@pytest.fixture(scope="module")
def proto(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return proto_file(tmp_path_factory.mktemp("proto"))


@given(EVENTS)
def test_an_event_in_avro_is_that_of_json(avro: tuple[AvroReader, Encoder], drawn: dict[str, Any]) -> None:
    read, encode = avro
    event = {name: value for name, value in drawn.items() if name != "at_ms"} | {"ts": drawn["at_ms"]}
    # What this schema has by default; bytes are no value.
    assert read(encode({**event, "unread": {"a": b"\xff"}})) == {"unread": {}, **event}


@pytest.mark.parametrize("frame", [b"", *FRAMES])
def test_an_event_in_protobuf_is_that_of_json(proto: Path, frame: bytes) -> None:
    read = ProtobufReader(str(proto), "shop.v1.Impression", framed=bool(frame))
    encode = protobuf_encoder(proto, "shop.v1.Impression", frame)

    @given(EVENTS)
    def alike(drawn: dict[str, Any]) -> None:
        event = {name: value for name, value in drawn.items() if name != "at_ms"} | {"ts": iso(drawn["at_ms"])}
        found = read(encode(event))
        assert found is not None
        # The compiler's own words for a moment; a join takes either.
        assert iso_ms(found.pop("ts")) == drawn["at_ms"]
        del event["ts"]
        assert found == {"tags": [], "unread": {}, **event}

    alike()


def iso_ms(text: str) -> int:
    since = datetime.fromisoformat(text) - datetime.fromtimestamp(0, tz=UTC)
    return since // timedelta(milliseconds=1)


def test_decimals_are_numbers_and_other_logical_types_what_they_are_written_as(
    server: RegistryServer, registry: SchemaRegistry
) -> None:
    money = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    day = {"type": "int", "logicalType": "date"}
    record = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "price", "type": money}, {"name": "day", "type": ["null", day]}],
    }
    number = register(server.settings, "money-value", record)
    plain = {**record, "fields": [record["fields"][0], {"name": "day", "type": ["null", "int"]}]}
    encoded = avro_encoder(number, plain)({"price": decimal.Decimal("3.50"), "day": 20_000})
    assert AvroReader(registry)(encoded) == {"price": 3.5, "day": 20_000}


def test_what_is_no_event_reads_as_none_or_as_an_event(avro: tuple[AvroReader, Encoder], proto: Path) -> None:
    plain, framed = (ProtobufReader(str(proto), "shop.v1.Impression", framed=each) for each in (False, True))

    @given(st.binary(max_size=40))
    def unharmed(value: bytes) -> None:
        for read in (read_json, plain, framed, lambda each: avro[0](b"\0\0\0\0\1" + each)):
            found = read(value)
            assert found is None or isinstance(found, dict)
        assert avro[0](value.lstrip(b"\0")) is None

    unharmed()


def test_a_number_that_the_registry_does_not_know_is_no_event_and_is_asked_for_once(
    server: RegistryServer, registry: SchemaRegistry
) -> None:
    read = AvroReader(registry)
    before = len(server.asked)
    assert [read(b"\0\0\0\xff\xffabc") for _ in range(3)] == [None] * 3
    assert len(server.asked) == before + 1


def test_schemas_may_name_others(server: RegistryServer, registry: SchemaRegistry) -> None:
    inner = {"type": "record", "name": "shop.Item", "fields": [{"name": "id", "type": "long"}]}
    outer = {"type": "record", "name": "View", "fields": [{"name": "item", "type": "shop.Item"}]}
    server.register("item", orjson.dumps(inner).decode())
    references = [{"name": "shop.Item", "subject": "item", "version": 1}]
    number = server.register("views-value", orjson.dumps(outer).decode(), references=references)
    whole = {**outer, "fields": [{"name": "item", "type": inner}]}
    assert AvroReader(registry)(avro_encoder(number, whole)({"item": {"id": 7}})) == {"item": {"id": 7}}


def test_what_is_not_avro_and_a_registry_that_is_away_are_told(server: RegistryServer) -> None:
    number = server.register("proto-value", 'syntax = "proto3";', schemaType="PROTOBUF")
    frame = b"\0" + number.to_bytes(4, "big")
    registry = SchemaRegistry(url=server.url)
    with pytest.raises(Invalid, match=f"schema {number} is Protobuf, not Avro"):
        AvroReader(registry)(frame)
    server.broken = True
    try:
        with pytest.raises(Unavailable, match="answers 503"):
            AvroReader(registry)(frame)
    finally:
        server.broken = False
    with pytest.raises(Unavailable, match="does not answer"):
        AvroReader(SchemaRegistry(url="http://127.0.0.1:1"))(frame)
