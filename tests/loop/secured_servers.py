"""Kafka by SASL_SSL and S3 by TLS, under an authority of the tests' own; started by those tests that need them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.clock import new_secret
from infra.kafka import ready
from infra.local.jars import kafka_classpath
from infra.local.java import java_executable, java_tool
from infra.local.kafka_server import ONE_BROKER
from infra.local.ports import HOST, free_ports, is_free
from infra.local.process import READY_SECONDS, Process
from infra.local.s3_server import S3Server
from infra.spec import Kafka

USER = "springtide"
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk"
# A JVM takes no empty one; it protects nothing.
STORE_PASSWORD = "changeit"
EXPIRED_DAYS = -1
LISTENERS = ("PLAIN", "SECURE", "STALE", "CONTROLLER")
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller}
listeners=PLAIN://{host}:{plain},SECURE://{host}:{secure},STALE://{host}:{stale},CONTROLLER://{host}:{controller}
advertised.listeners=PLAIN://{host}:{plain},SECURE://{host}:{secure},STALE://{host}:{stale},CONTROLLER://{host}:{controller}
listener.security.protocol.map=PLAIN:PLAINTEXT,SECURE:SASL_SSL,STALE:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.stale.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={good}
listener.name.stale.ssl.keystore.type=PEM
listener.name.stale.ssl.keystore.location={expired}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
auto.create.topics.enable=false
log.dirs={data}
{one_broker}"""


class Authority:
    """Signs certificates for the loopback address.

    Args:
        folder: Its files go there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        self._key = folder / "ca.key"
        self._openssl("req", "-x509", *_new_key(self._key), "-out", self.ca, "-days", "2", "-subj", "/CN=authority")

    def issue(self, name: str, *, expired: bool = False) -> tuple[Path, Path]:
        """A certificate and its key, PEM files."""
        certificate, key, request = (self._folder / f"{name}.{kind}" for kind in ("pem", "key", "request"))
        names = self._folder / "names"
        names.write_text(f"subjectAltName=IP:{HOST}\n")
        self._openssl("req", *_new_key(key), "-out", request, "-subj", f"/CN={name}")
        days = str(EXPIRED_DAYS if expired else 2)
        by: list[str | Path] = ["-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-extfile", names]
        self._openssl("x509", "-req", "-in", request, "-out", certificate, "-days", days, *by)
        return certificate, key

    def java_store(self) -> Path:
        """What a JVM trusts, which reads no PEM file for itself."""
        store = self._folder / "trusted.p12"
        words = ["-importcert", "-noprompt", "-alias", "ca", "-file", str(self.ca), "-storetype", "PKCS12"]
        words += ["-keystore", str(store), "-storepass", STORE_PASSWORD]
        subprocess.run([java_tool("keytool"), *words], check=True, capture_output=True, timeout=60)
        return store

    @staticmethod
    def _openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


def _new_key(path: Path) -> list[str | Path]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path]


@dataclass(frozen=True)
class SecuredKafka:
    """A broker.

    Attributes:
        plain: Where whoever comes may do all.
        secure: Where the user :data:`USER` may do what access lists grant him.
        stale: The same, with a certificate that has expired.
        password: The user's.
        log: What the broker says.
    """

    plain: str
    secure: str
    stale: str
    password: str
    log: Path

    @property
    def bootstrap(self) -> str:
        """Where it is asked, as of a local stack's broker."""
        return self.secure


@contextmanager
def secured_kafka(folder: Path, authority: Authority) -> Iterator[SecuredKafka]:
    """The broker, with its files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    plain, secure, stale, controller = free_ports(4)
    stores = {}
    for name in ("good", "expired"):
        certificate, key = authority.issue(f"broker-{name}", expired=name == "expired")
        stores[name] = folder / f"{name}.pem"
        stores[name].write_text(key.read_text() + certificate.read_text())
    settings = folder / "server.properties"
    ports = {"plain": plain, "secure": secure, "stale": stale, "controller": controller}
    settings.write_text(PROPERTIES.format(host=HOST, data=folder / "data", one_broker=ONE_BROKER, **ports, **stores))
    password = new_secret()
    java = [java_executable(), "-Xmx384m", "-XX:+UseSerialGC", "-cp", kafka_classpath()]
    form = [*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER, "-c", str(settings)]
    form += ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={password}]"]
    subprocess.run(form, check=True, capture_output=True, timeout=120)
    log = folder / "kafka.log"
    process = Process("secured kafka", [*java, "kafka.Kafka", str(settings)], log, folder=folder)
    process.start()
    try:
        inside = Kafka(bootstrap=f"{HOST}:{plain}")
        # Not asked before somebody listens: the client would report what is expected here as trouble.
        process.wait_until_ready(lambda: not is_free(plain) and bool(ready(inside, 5).brokers), READY_SECONDS)
        yield SecuredKafka(f"{HOST}:{plain}", f"{HOST}:{secure}", f"{HOST}:{stale}", password, log)
    finally:
        process.kill()


@contextmanager
def trusting(authority: Authority) -> Iterator[None]:
    """Inside, this process and its children trust the authority, as a machine does whose operator has told it to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.ca))
        store = f"-Djavax.net.ssl.trustStore={authority.java_store()}"
        patch.setenv("JAVA_TOOL_OPTIONS", f"{store} -Djavax.net.ssl.trustStorePassword={STORE_PASSWORD}")
        yield


@contextmanager
def secured_store(folder: Path, authority: Authority) -> Iterator[S3Server]:
    """An S3 server by TLS, which whoever asks must trust (:func:`trusting`)."""
    with ExitStack() as stack:
        server = S3Server(folder, folder.with_name(f"{folder.name}-logs"), tls=authority.issue("store"))
        stack.callback(server.kill)
        server.start()
        yield server
