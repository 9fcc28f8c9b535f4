"""Creating, requiring and describing topics on a real broker; an unreachable one is told in time."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from infra.clock import SystemClock
from infra.errors import Invalid, Unavailable
from infra.kafka import KafkaAdmin, TopicSettings, TopicShortfall, ready
from infra.local.kafka_server import KafkaServer
from infra.local.ports import free_ports
from infra.spec import Kafka


@pytest.fixture
def kafka(local_kafka: KafkaServer) -> Kafka:
    return Kafka(bootstrap=local_kafka.bootstrap)


@pytest.fixture
def admin(kafka: Kafka) -> KafkaAdmin:
    return KafkaAdmin(kafka)


def test_topics_are_created_once_with_their_settings(
    admin: KafkaAdmin, kafka: Kafka, unique: Callable[[str], str]
) -> None:
    name = unique("own")
    wanted = TopicSettings(
        name, partitions=3, retention_ms=3_600_000, cleanup="compact", settings={"segment.ms": "600000"}
    )
    assert admin.ensure_topics([wanted]) == []
    described = admin.topics([name])[name]
    assert described.partitions == (0, 1, 2)
    assert admin.ensure_topics([wanted]) == []
    assert admin.topics([name])[name] == described
    resource = ConfigResource(ResourceType.TOPIC, name)
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    config = client.describe_configs([resource])[resource].result()
    found = {key: config[key].value for key in ("retention.ms", "cleanup.policy", "segment.ms")}
    assert found == {"retention.ms": "3600000", "cleanup.policy": "compact", "segment.ms": "600000"}


def test_fewer_partitions_than_wanted_are_reported_and_left_alone(
    admin: KafkaAdmin, unique: Callable[[str], str]
) -> None:
    name = unique("small")
    admin.ensure_topics([TopicSettings(name, partitions=2)])
    assert admin.ensure_topics([TopicSettings(name, partitions=4)]) == [TopicShortfall(name, 2, 4)]
    assert admin.ensure_topics([TopicSettings(name, partitions=1)]) == []
    assert admin.topics([name])[name].partitions == (0, 1)


def test_a_topic_of_before_takes_larger_messages_and_never_smaller_ones(
    admin: KafkaAdmin, kafka: Kafka, unique: Callable[[str], str]
) -> None:
    name = unique("limited")
    admin.ensure_topics([TopicSettings(name, settings={"retention.ms": "1000000"})])
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})

    def found() -> tuple[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, name)
        config = client.describe_configs([resource])[resource].result()
        return config["max.message.bytes"].value, config["retention.ms"].value

    for wanted, kept in ((3_000_000, 3_000_000), (2_000_000, 3_000_000)):
        admin.ensure_topics([TopicSettings(name, largest_message=wanted)])
        assert found() == (str(kept), "1000000")


def test_a_topic_made_again_is_another_topic(admin: KafkaAdmin, unique: Callable[[str], str]) -> None:
    name = unique("again")
    admin.ensure_topics([TopicSettings(name)])
    first = admin.topics([name])[name].topic_id
    admin.delete_topics([name])
    admin.delete_topics([name])
    assert admin.topics([name]) == {}
    admin.ensure_topics([TopicSettings(name)])
    assert admin.topics([name])[name].topic_id != first


def test_every_missing_topic_is_named_with_the_nearest(admin: KafkaAdmin, unique: Callable[[str], str]) -> None:
    name = unique("clicks")
    admin.ensure_topics([TopicSettings(name)])
    admin.require_topics([name])
    with pytest.raises(Invalid) as caught:
        admin.require_topics([f"{name}s", name, "zzz-nothing-like-it"])
    assert caught.value.what.splitlines() == [
        f"topic `{name}s` not found; nearest `{name}`",
        "topic `zzz-nothing-like-it` not found",
    ]
    assert caught.value.cure


def test_what_the_broker_refuses_is_invalid(admin: KafkaAdmin, unique: Callable[[str], str]) -> None:
    name = unique("replicated")
    with pytest.raises(Invalid, match=f"topic `{name}` cannot be created: .*replication factor.*3"):
        admin.ensure_topics([TopicSettings(name, replication=3)])
    assert admin.topics([name]) == {}


def test_a_cluster_is_described_by_a_real_request(admin: KafkaAdmin, kafka: Kafka) -> None:
    cluster = ready(kafka, 10)
    assert cluster == admin.describe()
    assert cluster.brokers == (kafka.bootstrap,)
    assert cluster.cluster_id


def test_no_broker_is_unavailable_within_the_timeout() -> None:
    clock = SystemClock()
    dead = Kafka(bootstrap=f"127.0.0.1:{free_ports(1)[0]}")
    for call in (
        lambda: ready(dead, 1.0),
        lambda: KafkaAdmin(dead).describe(1.0),
        lambda: KafkaAdmin(dead).topics(["a"], 1.0),
        lambda: KafkaAdmin(dead).require_topics(["a"], 1.0),
    ):
        began = clock.monotonic()
        with pytest.raises(Unavailable, match=rf"{dead.bootstrap}  kafka: .*Connection refused.*Cure: start Kafka"):
            call()
        assert clock.monotonic() - began < 4.0


def test_an_unknown_host_is_told() -> None:
    with pytest.raises(Unavailable, match="Failed to resolve"):
        ready(Kafka(bootstrap="no-such-host.invalid:9092"), 1.0)
