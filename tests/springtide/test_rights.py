"""`springtide doctor --acls`: what it prints is enough on a real broker, and each part of it is wanted."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from typer.testing import CliRunner

from infra.clock import SystemClock
from infra.errors import Invalid, Unavailable
from infra.kafka import KafkaAdmin, PartitionReader, Producer, TopicSettings
from infra.kafka.connection import settings
from infra.pipeline_file import dump_pipeline
from infra.spec import Kafka, Pipeline, Sasl, Secret
from springtide.cli import app
from springtide.doctor import examine
from springtide.rights import KafkaRight, kafka_rights, replica_policy, store_policy
from streaming import topics
from streaming.beginning import prepare_topics
from tests.infra.secured_broker import PASSWORD, SecuredBroker
from tests.streaming.pipelines import pipeline

RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Delete": AclOperation.DELETE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
}
GUEST = "User:guest"
EVERYTHING = AclBindingFilter(
    ResourceType.ANY, None, ResourcePatternType.ANY, GUEST, None, AclOperation.ANY, AclPermissionType.ANY
)


def document(spec: Pipeline, folder: Path) -> str:
    path = folder / "pipeline.yaml"
    path.write_text(dump_pipeline(spec), encoding="utf-8")
    return str(path)


@pytest.fixture
def spec(guarded: SecuredBroker, unique: Callable[[str], str]) -> Pipeline:
    """A pipeline of the user `guest`, whose own topics are there."""
    found = pipeline(unique("rights"), samples={"delivery": "exactly_once"})
    KafkaAdmin(Kafka(bootstrap=guarded.plain)).ensure_topics(
        [TopicSettings(each) for each in topics.user_topics(found)]
    )
    sasl = Sasl(mechanism="PLAIN", username=Secret(value="guest"), password=Secret(value=PASSWORD))
    return found.model_copy(update={"kafka": Kafka(bootstrap=guarded.login, security="sasl_plaintext", sasl=sasl)})


@contextmanager
def granted(guarded: SecuredBroker, rights: list[KafkaRight]) -> Iterator[None]:
    admin = AdminClient({"bootstrap.servers": guarded.plain, "log_level": 0})
    bindings = [
        AclBinding(
            RESOURCES[right.resource],
            right.name,
            ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
            GUEST,
            "*",
            OPERATIONS[operation],
            AclPermissionType.ALLOW,
        )
        for right in rights
        for operation in right.operations
    ]
    for answer in admin.create_acls(bindings).values():
        answer.result()
    # The broker obeys a moment later.
    clock = SystemClock()
    deadline = clock.monotonic() + 20
    while len(admin.describe_acls(EVERYTHING).result()) < len(bindings):
        assert clock.monotonic() < deadline
        clock.sleep(0.05)
    try:
        yield
    finally:
        for answer in admin.delete_acls([EVERYTHING]).values():
            answer.result()


def work(spec: Pipeline) -> None:
    """What join, learner, page and `forget` ask of the brokers, with the clients that they ask by."""
    admin = KafkaAdmin(spec.kafka)
    prepare_topics(spec, admin)
    admin.ensure_topics(topics.own_topics(spec))  # those that are there may be raised
    samples = topics.samples(spec.name)
    with Producer(spec.kafka, delivery_timeout=10) as producer:
        for topic in (samples, *topics.heartbeats(spec)):
            producer.send(topic, b"{}")
        producer.flush()
    group = f"springtide.{spec.name}.learner"
    for topic in (*topics.user_topics(spec), samples):
        with PartitionReader(spec.kafka, topic, group=group) as reader:
            reader.assign(reader.positions_at("beginning"))
            assert len(reader.poll_batch(10, 10.0 if topic == samples else 0.1)) == (topic == samples)
            if topic == samples:
                await_mirrored(spec, reader, group)
    admin.delete_records(samples, {0: 1})
    admin.delete_topics([samples])


def committed(lag_tool: Consumer, topic: str) -> int | None:
    """The group's offset; None while its coordinator is not known, or not ready, yet."""
    try:
        return int(lag_tool.committed([TopicPartition(topic, 0)], timeout=10)[0].offset)
    except KafkaException:
        return None


def await_mirrored(spec: Pipeline, reader: PartitionReader, group: str) -> None:
    """Mirrors the position until the group has it; the first tries meet a coordinator that is not known yet.

    Not asked of an admin client: librdkafka's ends the process where the coordinator answers with an error.
    """
    clock = SystemClock()
    deadline = clock.monotonic() + 20
    lag_tool = Consumer({**settings(spec.kafka), "group.id": group})
    while committed(lag_tool, reader.topic) != 1:
        assert clock.monotonic() < deadline
        reader.mirror_offsets(reader.positions())
        reader.poll_batch(10, 0.1)
    lag_tool.close()


@pytest.mark.stack
def test_what_is_printed_is_enough_for_the_work_and_for_the_doctor(
    guarded: SecuredBroker, spec: Pipeline, tmp_path: Path
) -> None:
    with granted(guarded, kafka_rights(spec)):
        work(spec)
        found = {each.subject: each.state for each in examine(Path(document(spec, tmp_path)))}
    assert (found["kafka"], found["topic"], found["clock"]) == ("ok", "ok", "ok")


@pytest.mark.stack
def test_without_any_of_it_the_message_names_the_cure(guarded: SecuredBroker, spec: Pipeline) -> None:
    # A topic that may not be seen looks as one that is not made yet: it is waited for.
    with pytest.raises(Unavailable, match="not found") as waited:
        work(spec)
    assert "doctor --acls" in waited.value.cure
    user, own = topics.user_topics(spec), f"springtide.{spec.name}."
    reading = [KafkaRight("topic", each, False, ("Read",), ("join",)) for each in user]
    with granted(guarded, reading), pytest.raises(Invalid, match=r"topic `springtide\..*not allowed") as caught:
        work(spec)
    assert "doctor --acls" in caught.value.cure
    creating = KafkaRight("topic", own, True, ("Read", "Create", "DescribeConfigs", "AlterConfigs"), ("join",))
    with granted(guarded, [*reading, creating]), pytest.raises(Invalid, match=r"send.*not allowed"):
        work(spec)


def test_the_commands_name_every_topic_group_and_transaction(tmp_path: Path) -> None:
    spec = pipeline("shop", samples={"delivery": "exactly_once"}, probe={"enabled": True})
    result = CliRunner().invoke(app, ["doctor", document(spec, tmp_path), "--acls", "--principal", "User:ann"])
    assert result.exit_code == 0, result.output
    commands = [
        shlex.split(line, comments=True) for line in result.output.splitlines() if line.startswith("kafka-acls")
    ]
    assert all(words[words.index("--allow-principal") + 1] == "User:ann" for words in commands)
    resources = {"--topic", "--group", "--transactional-id"}
    named = {pair for words in commands for pair in pairwise(words) if pair[0] in resources}
    assert named == {
        ("--topic", "shop.impressions"),
        ("--topic", "shop.clicks"),
        ("--topic", "springtide.shop."),
        ("--group", "springtide.shop."),
        ("--transactional-id", "springtide.shop."),
    }
    assert all(each.name.startswith("springtide.shop.") for each in topics.own_topics(spec))


def test_probes_that_are_off_want_no_right_to_write_into_the_users_topics(tmp_path: Path) -> None:
    rights = kafka_rights(pipeline("shop"))
    assert all("Write" not in each.operations for each in rights if not each.name.startswith("springtide."))
    assert any(
        "Write" in each.operations
        for each in kafka_rights(pipeline("shop", probe={"enabled": True}))
        if each.name == "shop.clicks"
    )


def test_who_learns_from_anothers_samples_reads_them_and_makes_none() -> None:
    rights = kafka_rights(pipeline("second", samples={"of": "shop"}))
    assert ("springtide.shop.samples", ("Read",)) in {(each.name, each.operations) for each in rights}
    assert not [each for each in rights if each.resource == "transactional-id" or "AlterConfigs" in each.operations]


def actions(policy: Any) -> dict[str, set[str]]:
    return {resource: set(each["Action"]) for each in policy["Statement"] for resource in each["Resource"]}


def test_the_policy_covers_the_prefix_and_nothing_else() -> None:
    spec = pipeline("shop", store={"url": "s3://models/shop"}, flink={"checkpoints": "s3://flink/shop"})
    policy, reading = store_policy(spec), replica_policy(spec)
    assert policy is not None and reading is not None
    assert set(actions(policy)) == {
        "arn:aws:s3:::models",
        "arn:aws:s3:::models/shop/*",
        "arn:aws:s3:::flink",
        "arn:aws:s3:::flink/shop/*",
    }
    assert policy["Statement"][0]["Condition"] == {"StringLike": {"s3:prefix": ["shop", "shop/*"]}}
    assert actions(reading)["arn:aws:s3:::models/shop/gc/leases/*"] == {"s3:PutObject", "s3:DeleteObject"}
    assert actions(reading)["arn:aws:s3:::models/shop/*"] == {"s3:GetObject"}
    assert store_policy(pipeline("shop")) is None


def test_as_json_it_is_what_a_script_wants(tmp_path: Path) -> None:
    spec = pipeline("shop", store={"url": "s3://models/shop"})
    result = CliRunner().invoke(app, ["doctor", document(spec, tmp_path), "--acls", "-o", "json"])
    found = orjson.loads(result.output)
    assert found["store"]["Version"] == "2012-10-17"
    assert {"resource", "name", "pattern", "operations", "roles"} == set(found["kafka"][0])
