"""Holds that a part killed and started again serves on the same address, with its data."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest

from infra.clock import SystemClock
from infra.errors import Unavailable
from infra.kafka import KafkaAdmin, PartitionReader, Producer, TopicSettings
from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from infra.local.s3_server import S3Server
from infra.object_store import ObjectStore, open_store
from infra.spec import Kafka, Secret, Store

# In `make test` the servers are killed under a running loop (tests/loop/test_server_outages.py).
pytestmark = pytest.mark.long

CLOCK = SystemClock()
ANSWER_SECONDS = 30.0


def store_of(server: S3Server, prefix: str) -> ObjectStore:
    return open_store(
        Store(
            url=f"s3://{server.bucket}/{prefix}",
            endpoint=server.endpoint,
            region=server.region,
            access_key=Secret(value=server.access_key),
            secret_key=Secret(value=server.secret_key),
        )
    )


def send(kafka: Kafka, topic: str, *values: bytes) -> None:
    with Producer(kafka) as producer:
        for value in values:
            producer.send(topic, value)
        producer.flush()


def read_all(kafka: Kafka, topic: str, count: int) -> list[bytes | None]:
    """The first ``count`` messages of a topic of one partition, or those that came in time."""
    values: list[bytes | None] = []
    deadline = CLOCK.monotonic() + ANSWER_SECONDS
    with PartitionReader(kafka, topic) as reader:
        reader.assign(reader.positions_at("beginning"))
        while len(values) < count and CLOCK.monotonic() < deadline:
            values += reader.poll_batch(count, 0.2).values
    return values


def test_messages_survive_a_killed_broker(local_kafka: KafkaServer, unique: Callable[[str], str]) -> None:
    kafka, topic = Kafka(bootstrap=local_kafka.bootstrap), unique("restart")
    KafkaAdmin(kafka).ensure_topics([TopicSettings(topic)])
    send(kafka, topic, b"before")
    local_kafka.kill()
    assert not local_kafka.running
    local_kafka.start()
    send(kafka, topic, b"after")
    assert read_all(kafka, topic, 2) == [b"before", b"after"]


def test_a_missing_topic_is_not_made_by_asking(local_kafka: KafkaServer, unique: Callable[[str], str]) -> None:
    kafka, topic = Kafka(bootstrap=local_kafka.bootstrap), unique("absent")
    admin = KafkaAdmin(kafka)
    assert admin.topics([topic]) == {}
    assert topic not in admin.describe().topics


def test_objects_survive_a_killed_store(local_store: S3Server, unique: Callable[[str], str]) -> None:
    store = store_of(local_store, unique("restart"))
    store.put("before", b"kept")
    local_store.kill()
    assert not local_store.running
    local_store.start()
    assert store.get("before") == b"kept"
    store.put("after", b"written")
    assert store.get("after") == b"written"


def test_a_killed_task_manager_comes_back(local_flink: FlinkCluster) -> None:
    before = local_flink.registered()
    local_flink.kill_task_manager()
    assert not local_flink.running
    local_flink.start_task_manager()
    assert local_flink.registered() - before == {local_flink.task_managers[0].name}


def test_a_killed_job_manager_comes_back_to_its_task_managers(local_flink: FlinkCluster) -> None:
    local_flink.kill_job_manager()
    with pytest.raises(Unavailable, match="does not answer"):
        local_flink.registered()
    local_flink.start_job_manager()
    assert local_flink.task_managers[0].name in local_flink.registered()
