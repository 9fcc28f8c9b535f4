"""A wrong password, an expired certificate, a right that was taken away: each is told as docs/security.md says."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.errors import Invalid, SpringtideError
from infra.kafka import KafkaAdmin, PartitionReader, Producer, TopicSettings, ready
from infra.local.s3_server import S3Server
from infra.object_store import open_store
from infra.spec import Kafka, Sasl, Secret, Store, Tls
from tests.loop.secured_servers import USER, Authority, SecuredKafka, secured_kafka, trusting
from tests.loop.table_of_messages import documented

pytestmark = pytest.mark.stack
TOPIC = "guarded"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("broker") / "kafka", authority) as broker:
        KafkaAdmin(Kafka(bootstrap=broker.plain)).ensure_topics([TopicSettings(TOPIC)])
        yield broker


def user(authority: Authority, bootstrap: str, password: str) -> Kafka:
    sasl = Sasl(username=Secret(value=USER), password=Secret(value=password))
    return Kafka(bootstrap=bootstrap, security="sasl_ssl", sasl=sasl, tls=Tls(ca=str(authority.ca)))


def said(call: Any) -> str:
    with pytest.raises(SpringtideError) as caught:
        call()
    assert isinstance(caught.value, Invalid)
    return str(caught.value)


def test_the_right_password_under_the_right_authority_is_let_in(authority: Authority, broker: SecuredKafka) -> None:
    assert ready(user(authority, broker.secure, broker.password), 20).brokers == (broker.secure,)


def test_a_wrong_password(authority: Authority, broker: SecuredKafka) -> None:
    message = said(lambda: ready(user(authority, broker.secure, "not-the-password"), 30))
    assert documented("wrong password of Kafka", message)
    assert "not-the-password" not in message


def test_an_expired_certificate_of_kafka(authority: Authority, broker: SecuredKafka) -> None:
    assert documented(
        "expired certificate of Kafka", said(lambda: ready(user(authority, broker.stale, broker.password), 30))
    )


def test_a_right_that_is_not_there(authority: Authority, broker: SecuredKafka) -> None:
    """Whoever had it and lost it hears the same: tests/loop/test_secured_loop.py."""
    kafka = user(authority, broker.secure, broker.password)

    def read() -> None:
        with PartitionReader(kafka, TOPIC) as reader:
            reader.assign({0: 0})
            for _ in range(100):
                reader.poll_batch(1, 0.1)

    def write() -> None:
        with Producer(kafka, delivery_timeout=20) as producer:
            producer.send(TOPIC, b"x")
            producer.flush()

    for call in (read, write):
        assert documented("revoked right on Kafka", said(call))


def asked(server: S3Server) -> str:
    """What whoever asks the server is told, once it listens."""
    keys = {"access_key": Secret(value=server.access_key), "secret_key": Secret(value=server.secret_key)}
    store = open_store(Store(url=f"s3://{server.bucket}", endpoint=server.endpoint, **keys))

    def refused() -> bool:
        try:
            store.exists("anything")
        except Invalid:
            return True
        return False

    server.launch()
    try:
        server.process.wait_until_ready(refused, 60)
        return said(lambda: store.get("anything"))
    finally:
        server.kill()


def test_an_expired_certificate_of_the_store(authority: Authority, tmp_path: Path) -> None:
    with trusting(authority):
        server = S3Server(tmp_path / "s3", tmp_path / "logs", tls=authority.issue("stale", expired=True))
        assert documented("expired certificate of the store", asked(server))


def test_an_authority_of_the_store_that_nobody_trusts(authority: Authority, tmp_path: Path) -> None:
    server = S3Server(tmp_path / "s3", tmp_path / "logs", tls=authority.issue("store"))
    assert documented("unknown authority of the store", asked(server))
