"""A real broker with SASL and TLS listeners: who is let in, and what those hear who are not."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.clock import SystemClock
from infra.errors import Invalid, SpringtideError, Unavailable
from infra.kafka import KafkaAdmin, PartitionReader, Producer, ready
from infra.spec import Kafka, Sasl, Secret, Tls
from tests.infra.secured_broker import PASSWORD, SecuredBroker, secured_broker

WRONG = "the-wrong-password-itself"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    with secured_broker(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


def login(broker: SecuredBroker, password: Secret) -> Kafka:
    sasl = Sasl(mechanism="PLAIN", username=Secret(value="springtide"), password=password)
    return Kafka(bootstrap=broker.login, security="sasl_plaintext", sasl=sasl)


@pytest.mark.stack
def test_the_right_password_is_let_in(broker: SecuredBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    assert ready(login(broker, Secret(env="KAFKA_PASSWORD")), 10).brokers == (broker.login,)


@pytest.mark.stack
def test_a_wrong_password_is_invalid_soon_everywhere_and_named_by_its_reference(
    broker: SecuredBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", WRONG)
    kafka, clock = login(broker, Secret(env="KAFKA_PASSWORD")), SystemClock()

    def send() -> None:
        producer = Producer(kafka, delivery_timeout=1)
        producer.send("topic", b"x")
        producer.flush()

    def read() -> None:
        with PartitionReader(kafka, "topic") as reader:
            reader.assign({0: 0})
            for _ in range(50):
                reader.poll_batch(1, 0.1)

    for call in (lambda: ready(kafka, 30), lambda: KafkaAdmin(kafka).topics(["topic"], 1.0), send, read):
        began = clock.monotonic()
        with pytest.raises(SpringtideError) as caught:
            call()
        assert clock.monotonic() - began < 5
        assert isinstance(caught.value, Invalid)
        assert "the broker refuses the login" in caught.value.what
        assert "password (environment variable `KAFKA_PASSWORD`)" in caught.value.cure
        assert WRONG not in str(caught.value)


@pytest.mark.stack
def test_tls_with_the_right_authority_is_let_in(broker: SecuredBroker) -> None:
    kafka = Kafka(bootstrap=broker.secure, security="ssl", tls=Tls(ca=broker.ca))
    assert ready(kafka, 10).brokers == (broker.secure,)


@pytest.mark.stack
def test_an_untrusted_certificate_is_invalid_at_once(broker: SecuredBroker) -> None:
    with pytest.raises(Invalid, match=r"TLS failed: .*certificate verify failed.*Cure: check `kafka\.tls`"):
        ready(Kafka(bootstrap=broker.secure, security="ssl"), 30)


@pytest.mark.stack
def test_tls_to_a_listener_without_it_says_so(broker: SecuredBroker) -> None:
    with pytest.raises(Unavailable, match="so ends TLS with a listener that has none"):
        ready(Kafka(bootstrap=broker.plain, security="ssl", tls=Tls(ca=broker.ca)), 2)


def test_a_certificate_that_is_not_there_or_none_is_invalid(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    wrong = {
        str(tmp_path / "absent.pem"): r"`kafka\.tls\.ca`: no file `.*absent\.pem`. Cure: correct it",
        str(tmp_path / "no.pem"): r"ssl\.ca\.location failed.*Cure: check `kafka`",
    }
    for path, message in wrong.items():
        kafka = Kafka(bootstrap="127.0.0.1:1", security="ssl", tls=Tls(ca=path))
        for make in (KafkaAdmin, Producer, lambda kafka: PartitionReader(kafka, "topic")):
            with pytest.raises(Invalid, match=message):
                make(kafka)
