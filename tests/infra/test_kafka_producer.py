"""Sending to a real broker: what arrived is told, what did not is an error."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from infra.clock import SystemClock
from infra.errors import Invalid, Unavailable
from infra.kafka import Delivery, KafkaAdmin, PartitionReader, Producer, TopicSettings
from infra.kafka import connection as connection_module
from infra.kafka import producer as producer_module
from infra.local.kafka_server import KafkaServer
from infra.local.ports import free_ports
from infra.spec import Kafka


@pytest.fixture
def kafka(local_kafka: KafkaServer) -> Kafka:
    return Kafka(bootstrap=local_kafka.bootstrap)


@pytest.fixture
def topic(kafka: Kafka, unique: Callable[[str], str]) -> str:
    name = unique("sent")
    KafkaAdmin(kafka).ensure_topics([TopicSettings(name, partitions=3)])
    return name


def test_each_delivery_is_told_with_its_place(kafka: Kafka, topic: str) -> None:
    delivered: list[Delivery] = []
    with Producer(kafka) as producer:
        for number in range(500):
            producer.send(topic, f"{number}".encode(), key=f"key {number % 7}".encode(), delivered=delivered.append)
    assert len(delivered) == len({(each.partition, each.offset) for each in delivered}) == 500
    with PartitionReader(kafka, topic) as reader:
        assert {partition: marks.high for partition, marks in reader.watermarks().items()} == {
            partition: sum(each.partition == partition for each in delivered) for partition in range(3)
        }


def test_one_key_goes_to_the_partition_that_java_clients_choose(kafka: Kafka, topic: str) -> None:
    # murmur2 of the key, positive, modulo 3: what Flink's sink does as well. Values from Kafka's own Utils.murmur2.
    delivered: dict[str, int] = {}

    def note(key: str, delivery: Delivery) -> None:
        delivered[key] = delivery.partition

    with Producer(kafka) as producer:
        for key in ("21", "foobar", "a-little-bit-long-string"):
            producer.send(topic, b"x", key=key.encode(), delivered=functools.partial(note, key))
    hashes = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536}
    assert delivered == {key: (value & 0x7FFFFFFF) % 3 for key, value in hashes.items()}


def test_a_full_queue_waits_instead_of_losing(kafka: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_module, "SETTINGS", producer_module.SETTINGS | {"queue.buffering.max.messages": 10})
    delivered: list[Delivery] = []
    with Producer(kafka) as producer:
        for _ in range(300):
            producer.send(topic, b"x", delivered=delivered.append)
    assert len(delivered) == 300


def test_a_message_too_large_is_invalid(kafka: Kafka, topic: str) -> None:
    with pytest.raises(Invalid, match=r"the message is too large\. Cure: raise the topic's max\.message\.bytes"):
        Producer(kafka).send(topic, bytes(5_000_000))


def test_a_missing_topic_is_an_error_of_flush(
    kafka: Kafka, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = connection_module.COMMON | {"topic.metadata.propagation.max.ms": 200}
    monkeypatch.setattr(connection_module, "COMMON", impatient)
    name = unique("missing")
    producer = Producer(kafka)
    producer.send(name, b"x")
    with pytest.raises(Unavailable, match=f"send to topic `{name}`: no such topic"):
        producer.flush()


def test_what_cannot_be_delivered_is_unavailable_in_time_and_told_once() -> None:
    clock = SystemClock()
    dead = Kafka(bootstrap=f"127.0.0.1:{free_ports(1)[0]}")
    producer = Producer(dead, delivery_timeout=1)
    began = clock.monotonic()
    producer.send("topic", b"x")
    with pytest.raises(Unavailable, match=rf"{dead.bootstrap}  kafka: send.*Connection refused"):
        producer.flush()
    producer.flush()
    producer.send("topic", b"x")
    with pytest.raises(Unavailable, match="1 messages not delivered"):
        producer.flush(0.1)
    assert clock.monotonic() - began < 5
