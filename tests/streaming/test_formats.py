"""Avro with a registry and Protobuf on real Flink and Kafka: typed features, and nothing lost of what is no event."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.clock import new_uuid
from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming.planner import Planner
from streaming.schema_check import check_schemas
from tests.streaming.apicurio import ApicurioServer
from tests.streaming.encodings import (
    AVRO_CLICK,
    AVRO_IMPRESSION,
    FRAME,
    Encoder,
    avro_encoder,
    proto_file,
    protobuf_encoder,
    register,
)
from tests.streaming.events import Stream
from tests.streaming.fuzz import fuzz_both_topics
from tests.streaming.registry_server import RegistryServer
from tests.streaming.running import running_join
from tests.streaming.test_schema_check import FIELDS

AVRO = {"impressions": AVRO_IMPRESSION, "clicks": AVRO_CLICK}
PROTOBUF = {"impressions": "shop.v1.Impression", "clicks": "shop.v1.Click"}


def written(
    encoding: str, topic: str, name: str, registry: Mapping[str, Any], proto: Path
) -> tuple[dict[str, Any], Encoder]:
    """What a pipeline says of a topic in ``encoding``, and its producer."""
    parts: dict[str, Any] = {"topic": f"{name}.{topic}", "format": encoding}
    if encoding == "avro":
        number = register(registry, f"{name}.{topic}-value", AVRO[topic])
        return {**parts, "time_unit": "ms"}, avro_encoder(number, AVRO[topic])
    framed = topic == "clicks"
    parts |= {"proto": str(proto), "message": PROTOBUF[topic], "framed": framed}
    return parts, protobuf_encoder(proto, PROTOBUF[topic], FRAME if framed else b"")


@pytest.fixture(scope="module", params=["avro", pytest.param("protobuf", marks=pytest.mark.long)])
def encoding(request: pytest.FixtureRequest) -> str:
    """That of the impressions; the clicks have the other one."""
    return str(request.param)


@pytest.fixture(scope="module")
def registry(encoding: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer | ApicurioServer]:
    """With TLS and a login; or a real one, which takes 5 s to start, for the long half of the tests."""
    folder = tmp_path_factory.mktemp("registry")
    real = encoding == "protobuf"
    with ApicurioServer(folder) if real else RegistryServer("springtide:s3cret", folder) as found:
        yield found


@pytest.fixture(scope="module")
def stream(
    local_kafka: KafkaServer,
    local_flink: FlinkCluster,
    planner: Planner,
    encoding: str,
    registry: RegistryServer | ApicurioServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stream]:
    """Impressions and clicks in two encodings, one job."""
    name = f"formats-{new_uuid()[:8]}"
    proto = proto_file(tmp_path_factory.mktemp("proto"))
    other = "protobuf" if encoding == "avro" else "avro"
    impressions, encode_impression = written(encoding, "impressions", name, registry.settings, proto)
    clicks, encode_click = written(other, "clicks", name, registry.settings, proto)
    with running_join(
        local_kafka,
        local_flink,
        planner,
        "formats",
        encoders=(encode_impression, encode_click),
        impressions={**impressions, "fields": FIELDS},
        feedback=clicks,
        schema_registry=registry.settings,
    ) as found:
        assert len(check_schemas(found.pipeline)) == 2
        yield found


def sample(stream: Stream, key: str) -> Mapping[str, Any]:
    return next(row for row in stream.samples if row["sample_id"] == f"{key}#click.0")


FULL: dict[str, Any] = {
    "user": {"city": "Köln", "age": 7, "history": [3, 2**60]},
    "item": "ü\"'",
    "place": 2**60,
    "price": 0.1,
    "mobile": True,
    "tags": ["a", "b"],
    "device": "DESK",
    "friend": {"city": "Bonn"},
    "w": 2.5,
}
READ = {
    "city": "Köln",
    "history": [3, 2**60],
    "item": "ü\"'",
    "place": 2**60,
    "price": 0.1,
    "mobile": True,
    "tags": ["a", "b"],
    "device": "DESK",
    "friend": "Bonn",
    "weight": 2.5,
}
EMPTY = {name: 1 if name == "weight" else None for name in READ}


def test_nested_fields_arrays_and_nulls_are_typed_features(stream: Stream) -> None:
    stream.impression("full", 1.0, **FULL)
    stream.impression("empty", 1.0)
    for key in ("full", "empty"):
        stream.click(key, 2.0)
    stream.producer.flush()
    stream.until(lambda: sum(row["kind"] == "click" for row in stream.samples) >= 2, "two clicks")
    assert {name: sample(stream, "full")[name] for name in READ} == READ
    lists: list[str] | None = [] if stream.pipeline.events.impressions.format == "protobuf" else None
    assert {name: sample(stream, "empty")[name] for name in READ} == EMPTY | {"tags": lists}
    assert sample(stream, "full")["known_ts"] == stream.time(2.0)


def test_producers_of_avro_may_be_ahead_of_the_pipeline(
    stream: Stream, registry: RegistryServer | ApicurioServer
) -> None:
    """The schema's next version has one field more and lacks another, and the registry cannot be asked for it at once.

    Of another one the registry knows nothing.
    """
    if isinstance(registry, ApicurioServer):
        pytest.skip("the impressions are Protobuf, which has no schema of its own in each message")
    fields = [each for each in AVRO_IMPRESSION["fields"] if each["name"] != "w"]
    newer = {**AVRO_IMPRESSION, "fields": [{"name": "new", "type": "string"}, *fields]}
    event = {"ts": stream.base_ms + 1000, "new": "x", **FULL}
    number = register(registry.settings, "any", newer)
    before, asked = len(stream.dead), len(registry.asked)
    registry.broken = True
    stream.raw(0, avro_encoder(number, newer)({**event, "id": "newer"}))
    stream.click("newer", 2.0)
    stream.producer.flush()
    stream.until(lambda: len(registry.asked) >= asked + 3, "three questions in vain")
    registry.broken = False
    unknown = [avro_encoder(4711, newer)({**event, "id": f"unknown-{number}"}) for number in range(3)]
    for body in unknown:
        stream.raw(0, body)
    stream.producer.flush()
    stream.until(lambda: any(row["sample_id"] == "newer#click.0" for row in stream.samples), "the newer one's click")
    assert {name: sample(stream, "newer")[name] for name in READ} == {**READ, "weight": 1}
    stream.until(lambda: len(stream.dead) >= before + 3, "three dead letters")
    assert [row["reason"] for row in stream.dead[before:]] == ["malformed"] * 3
    assert [base64.b64decode(row["body"]) for row in stream.dead[before:]] == unknown


def test_whatever_bytes_come_the_job_goes_on_and_each_message_ends_once(stream: Stream) -> None:
    fuzz_both_topics(stream, seed=11, seconds=100.0, fields=FULL)
    # Which others there are depends on the time of the test: its bytes are spoilt, too.
    assert {row["reason"] for row in stream.dead} > {"malformed"}
