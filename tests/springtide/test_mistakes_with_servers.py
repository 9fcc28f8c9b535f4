"""Typical mistakes with Kafka, the store, rights and events, each made really: the documented message and exit code."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from checkpointing.writer import Writer
from infra.clock import new_uuid
from infra.kafka import KafkaAdmin, Producer, TopicSettings
from infra.local.kafka_server import KafkaServer
from infra.local.ports import free_ports
from infra.local.s3_server import S3Server
from infra.object_store import open_store
from infra.pipeline_file import dump_pipeline
from infra.spec import Kafka, Pipeline, Sasl, Secret, Store
from springtide.rights import KafkaRight
from tests.checkpointing.reference import content
from tests.checkpointing.stepping_clock import SteppingClock
from tests.infra.secured_broker import PASSWORD, SecuredBroker
from tests.springtide.mistakes import Row, Said, assert_said, call, table
from tests.springtide.test_rights import granted
from tests.springtide.test_survey import clicked, shown
from tests.streaming.pipelines import pipeline

# Brokers, a store and waits of several seconds each.
pytestmark = pytest.mark.long

READER, READER_SECRET = "reader", "reader-secret-of-the-tests"
SECRET = "the-secret-as-it-was-before"


class TwoKeys(S3Server):
    """The store with a second access key, which may only read."""

    def _identity(self) -> object:
        found: Any = super()._identity()
        credentials = [{"accessKey": READER, "secretKey": READER_SECRET}]
        found["identities"].append({"name": READER, "credentials": credentials, "actions": ["Read", "List"]})
        return found


@dataclass(frozen=True)
class Workshop:
    """Where mistakes are made: the servers, topics with events on them, and a folder."""

    kafka: Kafka
    store: S3Server
    guarded: SecuredBroker
    views: str
    clicks: str
    folder: Path

    def init(self, views: str, clicks: str, *words: str, bootstrap: str = "") -> Said:
        topics = ["--impressions", views, "--feedback", clicks, "-o", "-"]
        return call("init", "--bootstrap", bootstrap or self.kafka.bootstrap, *topics, *words)

    def topic(self, rows: list[bytes]) -> str:
        """A topic of these messages."""
        name = f"{self.views}-{new_uuid()[:8]}"
        KafkaAdmin(self.kafka).ensure_topics([TopicSettings(name)])
        with Producer(self.kafka) as producer:
            for row in rows:
                producer.send(name, row)
            producer.flush()
        return name

    def pipeline(self, **parts: Any) -> Pipeline:
        """A right pipeline on the servers, but for Flink."""
        keys = {"access_key": {"value": self.store.access_key}, "secret_key": {"value": self.store.secret_key}}
        store = {"url": f"s3://{self.store.bucket}/m", "endpoint": self.store.endpoint, **keys}
        return pipeline(
            "mistakes",
            **{
                "kafka": self.kafka.model_dump(mode="json", exclude_none=True),
                "impressions": {"topic": self.views, "key": "view", "time": "at", "time_unit": "ms", "weight": None},
                "feedback": {"topic": self.clicks, "key": "of", "time": "t", "time_unit": "ms"},
                "store": store,
                **parts,
            },
        )

    def file(self, **parts: Any) -> str:
        """The pipeline with ``parts`` that are wrong."""
        path = self.folder / "pipeline.yaml"
        path.write_text(dump_pipeline(self.pipeline(**parts)), encoding="utf-8")
        return str(path)

    def stored(self, **wrong: Any) -> str:
        """The pipeline whose store has ``wrong`` settings."""
        return self.file(store=self.pipeline().store.model_dump(mode="json", exclude_none=True) | wrong)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp("two-keys")
    server = TwoKeys(folder / "s3", folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def topics(local_kafka: KafkaServer) -> tuple[str, str]:
    """Views and clicks on them."""
    kafka = Kafka(bootstrap=local_kafka.bootstrap)
    names = ("mistakes.views", "mistakes.clicks")
    KafkaAdmin(kafka).ensure_topics([TopicSettings(name) for name in names])
    with Producer(kafka) as producer:
        for name, rows in zip(names, (shown(), clicked()), strict=True):
            for row in rows:
                producer.send(name, orjson.dumps(row))
        producer.flush()
    return names


@pytest.fixture
def shop(
    local_kafka: KafkaServer, store: S3Server, guarded: SecuredBroker, topics: tuple[str, str], tmp_path: Path
) -> Workshop:
    return Workshop(Kafka(bootstrap=local_kafka.bootstrap), store, guarded, *topics, tmp_path)


def as_json(rows: list[dict[str, Any]]) -> list[bytes]:
    return [orjson.dumps(row) for row in rows]


def wrong_port(shop: Workshop) -> Said:
    (port,) = free_ports(1)
    return shop.init(shop.views, shop.clicks, bootstrap=f"127.0.0.1:{port}")


def wrong_host(shop: Workshop) -> Said:
    return shop.init(shop.views, shop.clicks, bootstrap="no-such-host.invalid:9092")


def misspelt_topic(shop: Workshop) -> Said:
    return shop.init(shop.views, shop.clicks[:-1])


def empty_topic(shop: Workshop) -> Said:
    return shop.init(shop.views, shop.topic([]))


def exchanged(shop: Workshop) -> Said:
    return shop.init(shop.clicks, shop.views)


def another_key(shop: Workshop) -> Said:
    return shop.init(shop.views, shop.topic(as_json([{**row, "of": f"x{row['of']}"} for row in clicked()])))


def nanoseconds(shop: Workshop) -> Said:
    return shop.init(shop.topic(as_json([{**row, "at": row["at"] * 10**6} for row in shown()])), shop.clicks)


def avro(shop: Workshop) -> Said:
    return shop.init(shop.views, shop.topic([b"\x00\x00\x00\x00\x07abc"] * 20))


def tls_where_there_is_none(shop: Workshop) -> Said:
    tls = ["--security", "ssl", "--ca", shop.guarded.ca]
    return shop.init(shop.views, shop.clicks, *tls, bootstrap=shop.guarded.plain)


def untrusted(shop: Workshop) -> Said:
    return shop.init(shop.views, shop.clicks, "--security", "ssl", bootstrap=shop.guarded.secure)


def guest(shop: Workshop, password: str = PASSWORD) -> dict[str, Any]:
    sasl = Sasl(mechanism="PLAIN", username=Secret(value="guest"), password=Secret(value=password))
    kafka = Kafka(bootstrap=shop.guarded.login, security="sasl_plaintext", sasl=sasl)
    return kafka.model_dump(mode="json", exclude_none=True)


def expired_password(shop: Workshop) -> Said:
    (shop.folder / "password").write_text(SECRET, encoding="utf-8")
    kafka = guest(shop)
    kafka["sasl"]["password"] = {"file": str(shop.folder / "password")}
    return call("late", "list", shop.file(kafka=kafka))


def no_right_to_see(shop: Workshop) -> Said:
    KafkaAdmin(Kafka(bootstrap=shop.guarded.plain)).ensure_topics([TopicSettings(shop.views)])
    return call("doctor", shop.file(kafka=guest(shop)))


def no_right_to_read(shop: Workshop) -> Said:
    name = "springtide.mistakes.samples"
    KafkaAdmin(Kafka(bootstrap=shop.guarded.plain)).ensure_topics([TopicSettings(name)])
    with granted(shop.guarded, [KafkaRight("topic", "springtide.mistakes.", True, ("Describe",), ("learner",))]):
        with Producer(Kafka(bootstrap=shop.guarded.plain)) as producer:
            producer.send(name, b"{}")
        return call("suggest", "window", shop.file(kafka=guest(shop)))


def before_the_join(shop: Workshop) -> Said:
    return call("late", "list", shop.file())


def too_few_samples(shop: Workshop) -> Said:
    KafkaAdmin(shop.kafka).ensure_topics([TopicSettings(f"springtide.few.{each}") for each in ("samples", "late")])
    path = shop.folder / "few.yaml"
    path.write_text(dump_pipeline(shop.pipeline().model_copy(update={"name": "few"})), encoding="utf-8")
    return call("suggest", "window", str(path))


def wrong_endpoint(shop: Workshop) -> Said:
    (port,) = free_ports(1)
    return call("versions", shop.stored(endpoint=f"http://127.0.0.1:{port}"))


def wrong_bucket(shop: Workshop) -> Said:
    return call("versions", shop.stored(url="s3://no-such-bucket/m"))


def rotated_secret(shop: Workshop) -> Said:
    (shop.folder / "secret").write_text(SECRET, encoding="utf-8")
    return call("versions", shop.stored(secret_key={"file": str(shop.folder / "secret")}))


def unknown_key(shop: Workshop) -> Said:
    return call("versions", shop.stored(access_key={"value": "nobody"}))


def read_only_key(shop: Workshop) -> Said:
    keys = {"access_key": {"value": READER}, "secret_key": {"value": READER_SECRET}}
    return call("doctor", shop.stored(**keys))


def https_to_http(shop: Workshop) -> Said:
    return call("versions", shop.stored(endpoint=shop.store.endpoint.replace("http://", "https://")))


def full_disk(shop: Workshop) -> Said:
    """On a disk of one page, which a file fills; a name space of its own lets anybody mount one."""
    disk = shop.folder / "disk"
    disk.mkdir()
    path = shop.file(store={"url": disk.as_uri()})
    filled = f"mount -t tmpfs -o size=4k none {disk} && head -c 4096 /dev/zero >{disk}/full"
    work = f"{filled} && exec {sys.executable} -m springtide doctor {path}"
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no name spaces for users here")
    run = subprocess.run([unshare, "-rm", "sh", "-c", work], capture_output=True, text=True, timeout=120, check=False)
    return Said(run.stdout + run.stderr, run.returncode)


def wrong_checksum(shop: Workshop) -> Said:
    path = shop.file(store={"url": (shop.folder / "versions").as_uri()})
    store = open_store(Store(url=(shop.folder / "versions").as_uri()))
    writer = Writer.take_over(store, "mistakes", "a", SteppingClock())
    writer.commit(content({1: 1}, offset=1, dense={"w": np.ones(2, np.float32)}))
    key = next(key for key in store.list("versions/") if key.endswith("pack"))
    store.put(key, store.get(key)[:-1] + b"x")
    return call("verify", path)


def key_is_another(shop: Workshop) -> Said:
    topic = {"topic": shop.clicks, "key": "off", "time": "t", "time_unit": "ms"}
    return call("doctor", shop.file(feedback=topic))


def unit_is_another(shop: Workshop) -> Said:
    topic = {"topic": shop.clicks, "key": "of", "time": "t", "time_unit": "s"}
    return call("doctor", shop.file(feedback=topic))


def exchanged_in_the_file(shop: Workshop) -> Said:
    views = {"topic": shop.clicks, "key": "of", "time": "t", "time_unit": "ms", "weight": None}
    clicks = {"topic": shop.views, "key": "view", "time": "at", "time_unit": "ms"}
    return call("doctor", shop.file(impressions=views, feedback=clicks))


def no_flink(shop: Workshop) -> Said:
    (port,) = free_ports(1)
    return call("doctor", shop.file(flink={"rest": f"http://127.0.0.1:{port}"}))


def no_flink_but_another(shop: Workshop) -> Said:
    return call("doctor", shop.file(flink={"rest": shop.store.endpoint}))


MADE: dict[int, Callable[[Workshop], Said]] = {
    number: made
    for number, made in enumerate(
        (
            *(wrong_port, wrong_host, misspelt_topic, empty_topic, exchanged, another_key, nanoseconds, avro),
            *(tls_where_there_is_none, untrusted, expired_password, no_right_to_see, no_right_to_read),
            *(before_the_join, too_few_samples, wrong_endpoint, wrong_bucket, rotated_secret, unknown_key),
            *(read_only_key, https_to_http, full_disk, wrong_checksum, key_is_another, unit_is_another),
            *(exchanged_in_the_file, no_flink, no_flink_but_another),
        ),
        start=29,
    )
}


@pytest.mark.parametrize("number", MADE, ids=lambda number: f"{number}-{MADE[number].__name__}")
def test_a_mistake_with_servers(number: int, shop: Workshop) -> None:
    row: Row = table()[number]
    result = MADE[number](shop)
    assert SECRET not in result.output
    assert_said(row, result)
