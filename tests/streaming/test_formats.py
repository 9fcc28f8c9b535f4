"""Avro with a registry and Protobuf on real Flink and Kafka: typed features, and nothing lost of what is no event."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from infra.clock import SystemClock
from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming import sql
from streaming.flink_rest import FlinkRest
from streaming.planner import Planner
from streaming.schema_check import check_schemas
from tests.streaming.encodings import AVRO_IMPRESSION, avro_encoder, proto_file, protobuf_encoder, register
from tests.streaming.events import Stream
from tests.streaming.fuzz import fuzz_both_topics
from tests.streaming.pipelines import pipeline
from tests.streaming.registry_server import RegistryServer
from tests.streaming.test_schema_check import FIELDS
from tests.streaming.truth import AGE_MS, JOIN


def described(local_kafka: KafkaServer, local_flink: FlinkCluster, name: str, **parts: Any) -> Any:
    return pipeline(
        name,
        kafka={"bootstrap": local_kafka.bootstrap},
        join=JOIN,
        flink={"rest": local_flink.rest, "checkpoint_interval": "2s"},
        **parts,
    )


@pytest.fixture(scope="module")
def registry_url() -> Iterator[str]:
    with RegistryServer() as found:
        yield found.url


@pytest.fixture(scope="module")
def stream(
    local_kafka: KafkaServer,
    local_flink: FlinkCluster,
    planner: Planner,
    registry_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stream]:
    """Impressions in Avro, clicks in Protobuf, one job."""
    clock = SystemClock()
    name = f"formats-{clock.now_ms() % 1_000_000_000}"
    proto = proto_file(tmp_path_factory.mktemp("proto"))
    number = register(registry_url, f"{name}.impressions-value", AVRO_IMPRESSION)
    spec = described(
        local_kafka,
        local_flink,
        name,
        impressions={"format": "avro", "time_unit": "ms", "fields": FIELDS},
        feedback={"format": "protobuf", "proto": str(proto), "message": "shop.v1.Click"},
        schema_registry={"url": registry_url},
    )
    assert len(check_schemas(spec)) == 2
    encoders = (avro_encoder(number, AVRO_IMPRESSION), protobuf_encoder(proto, "shop.v1.Click"))
    found = Stream(spec, clock.now_ms() - AGE_MS, encoders=encoders)
    with FlinkRest(local_flink.rest) as cluster:
        job = planner.submit(sql.plan(spec), cluster)
        try:
            yield found
        finally:
            cluster.cancel(job)
            found.close()


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


def test_nested_fields_arrays_and_nulls_of_avro_are_typed_features(stream: Stream, registry_url: str) -> None:
    stream.impression("full", 1.0, **FULL, unread={"x": b"1", "y": None})
    stream.impression("empty", 1.0)
    # A producer that is ahead: the schema's next version has one field more, and lacks another.
    fields = [each for each in AVRO_IMPRESSION["fields"] if each["name"] != "w"]
    newer = {**AVRO_IMPRESSION, "fields": [{"name": "new", "type": "string"}, *fields]}
    encode = avro_encoder(register(registry_url, "any", newer), newer)
    time = stream.base_ms + 1000
    stream.raw(0, encode({"id": "newer", "ts": time, "new": "x", **{k: v for k, v in FULL.items() if k != "w"}}))
    for key in ("full", "empty", "newer"):
        stream.click(key, 2.0)
    stream.producer.flush()
    keys = ("full", "empty", "newer")
    stream.until(lambda: sum(row["kind"] == "click" for row in stream.samples) >= len(keys), "three clicks")
    assert {name: sample(stream, "full")[name] for name in READ} == READ
    assert {name: sample(stream, "empty")[name] for name in READ} == EMPTY
    assert {name: sample(stream, "newer")[name] for name in READ} == {**READ, "weight": 1}
    assert sample(stream, "full")["known_ts"] == stream.time(2.0)


def test_a_schema_that_the_registry_does_not_know_makes_dead_letters(stream: Stream) -> None:
    before = len(stream.dead)
    unknown = avro_encoder(4711, AVRO_IMPRESSION)
    bodies = [unknown({"id": f"unknown-{number}", "ts": stream.base_ms}) for number in range(3)]
    for body in bodies:
        stream.raw(0, body)
    stream.producer.flush()
    stream.until(lambda: len(stream.dead) >= before + 3, "three dead letters")
    assert [row["reason"] for row in stream.dead[before:]] == ["malformed"] * 3
    assert [base64.b64decode(row["body"]) for row in stream.dead[before:]] == bodies


def test_whatever_bytes_come_the_job_goes_on_and_each_message_ends_once(stream: Stream) -> None:
    fuzz_both_topics(stream, seed=11, seconds=100.0, fields=FULL)
    assert {row["reason"] for row in stream.dead} >= {"malformed", "no_time"}
