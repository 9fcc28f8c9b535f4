"""A real broker with SASL and TLS listeners: who is let in, and what those hear who are not."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.clock import SystemClock
from infra.errors import Invalid, SpringtideError, Unavailable
from infra.kafka import KafkaAdmin, PartitionReader, Producer, ready
from infra.local.jars import kafka_classpath
from infra.local.java import java_executable
from infra.local.ports import free_ports
from infra.local.process import Process
from infra.spec import Kafka, Sasl, Secret, Tls

PASSWORD = "the-right-password"
WRONG = "the-wrong-password-itself"
STORE_PASSWORD = "changeit"
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk"
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAIN://127.0.0.1:{plain},LOGIN://127.0.0.1:{login},SECURE://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},LOGIN://127.0.0.1:{login},SECURE://127.0.0.1:{secure}
listener.security.protocol.map=PLAIN:PLAINTEXT,LOGIN:SASL_PLAINTEXT,SECURE:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=PLAIN
listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_springtide="{password}";
ssl.keystore.type=PKCS12
ssl.keystore.location={keystore}
ssl.keystore.password={store_password}
log.dirs={data}
offsets.topic.replication.factor=1
"""


@dataclass(frozen=True)
class SecuredBroker:
    plain: str
    login: str
    secure: str
    ca: str


def keytool(*arguments: str) -> None:
    tool = Path(java_executable()).resolve().with_name("keytool")
    subprocess.run([str(tool), *arguments, "-storepass", STORE_PASSWORD], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    folder = tmp_path_factory.mktemp("secured")
    keystore, certificate = folder / "broker.p12", folder / "broker.pem"
    same = ["-alias", "broker", "-keystore", str(keystore)]
    names = ["-dname", "CN=127.0.0.1", "-ext", "SAN=IP:127.0.0.1", "-ext", "BC=ca:true"]
    keytool("-genkeypair", *same, "-keyalg", "EC", "-storetype", "PKCS12", "-validity", "2", *names)
    keytool("-exportcert", "-rfc", *same, "-file", str(certificate))
    plain, login, secure, controller = free_ports(4)
    settings = folder / "server.properties"
    settings.write_text(
        PROPERTIES.format(
            plain=plain,
            login=login,
            secure=secure,
            controller=controller,
            password=PASSWORD,
            keystore=keystore,
            store_password=STORE_PASSWORD,
            data=folder / "data",
        )
    )
    java = [java_executable(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", kafka_classpath()]
    format_it = [*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER, "-c", str(settings)]
    subprocess.run(format_it, check=True, capture_output=True, timeout=60)
    process = Process("secured kafka", [*java, "kafka.Kafka", str(settings)], folder / "kafka.log", folder=folder)
    process.start()
    try:
        ready(Kafka(bootstrap=f"127.0.0.1:{plain}"), 60)
        yield SecuredBroker(f"127.0.0.1:{plain}", f"127.0.0.1:{login}", f"127.0.0.1:{secure}", str(certificate))
    finally:
        process.kill()


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
    with pytest.raises(Unavailable, match="PLAINTEXT broker listener"):
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
