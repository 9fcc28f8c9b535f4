"""A real broker with SASL and TLS listeners and with access lists; started by those tests that need one."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.kafka import ready
from infra.local.jars import kafka_classpath
from infra.local.java import java_executable
from infra.local.ports import free_ports
from infra.local.process import Process
from infra.spec import Kafka

PASSWORD = "the-right-password"
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
user_springtide="{password}" user_guest="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:springtide
ssl.keystore.type=PKCS12
ssl.keystore.location={keystore}
ssl.keystore.password={store_password}
log.dirs={data}
offsets.topic.replication.factor=1
"""


@dataclass(frozen=True)
class SecuredBroker:
    """Where it listens: without a login, by password, by TLS; and the authority that it is to be trusted by.

    Whoever comes without a login, and the user `springtide`, may do all; `guest`, with the same password, nothing.
    """

    plain: str
    login: str
    secure: str
    ca: str


def keytool(*arguments: str) -> None:
    tool = Path(java_executable()).resolve().with_name("keytool")
    subprocess.run([str(tool), *arguments, "-storepass", STORE_PASSWORD], check=True, capture_output=True, timeout=60)


@contextmanager
def secured_broker(folder: Path) -> Iterator[SecuredBroker]:
    """The broker, with its files in ``folder``."""
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
