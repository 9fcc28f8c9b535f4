"""How Flink's Kafka connector reaches the brokers that a pipeline names; must not know tables."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infra import spec
from infra.errors import Invalid
from infra.secrets import read_secret

MASK = "***"

# The connector carries its own copy of Kafka's client under another package name.
_SHADED = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security"
_LOGIN = {
    "PLAIN": f"{_SHADED}.plain.PlainLoginModule",
    "SCRAM-SHA-256": f"{_SHADED}.scram.ScramLoginModule",
    "SCRAM-SHA-512": f"{_SHADED}.scram.ScramLoginModule",
}


def connection(kafka: spec.Kafka, *, reveal: bool) -> Mapping[str, str]:
    """The connector options for addresses, TLS and SASL.

    Certificates are sent by content, since the workers of a cluster do not have this machine's files.

    Args:
        kafka: Where the brokers are.
        reveal: Whether secrets stand in the options as they are; otherwise as :data:`MASK`.

    Raises:
        Invalid: A secret or a certificate cannot be read (only with ``reveal``).
    """
    found = {
        "connector": "kafka",
        "properties.bootstrap.servers": kafka.bootstrap,
        "properties.security.protocol": kafka.security.upper(),
        # The other strategy, their default, has each client look for its first addresses again without a pause while no
        # broker answers: a core and a million lines of log in a minute, just when brokers want to come back.
        "properties.metadata.recovery.strategy": "none",
    }
    if kafka.sasl is not None:
        found["properties.sasl.mechanism"] = kafka.sasl.mechanism
        found["properties.sasl.jaas.config"] = (
            f"{_LOGIN[kafka.sasl.mechanism]} required"
            f" username={_jaas(_secret(kafka.sasl.username, reveal))}"
            f" password={_jaas(_secret(kafka.sasl.password, reveal))};"
        )
    if kafka.tls is not None:
        found |= _tls(kafka.tls, reveal)
    return found


def _tls(tls: spec.Tls, reveal: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    if tls.ca is not None:
        found["properties.ssl.truststore.type"] = "PEM"
        found["properties.ssl.truststore.certificates"] = _file("ca", tls.ca, reveal)
    if tls.certificate is not None and tls.key is not None:
        found["properties.ssl.keystore.type"] = "PEM"
        found["properties.ssl.keystore.certificate.chain"] = _file("certificate", tls.certificate, reveal)
        found["properties.ssl.keystore.key"] = _file("key", tls.key, reveal)
    if tls.key_password is not None:
        found["properties.ssl.key.password"] = _secret(tls.key_password, reveal)
    return found


def _secret(secret: spec.Secret, reveal: bool) -> str:
    return read_secret(secret) if reveal else MASK


def _file(name: str, path: str, reveal: bool) -> str:
    if not reveal:
        return MASK
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            f"kafka.tls.{name}: cannot be read: {error}", wanted="a PEM file", cure="correct the path", where=path
        ) from None


def _jaas(text: str) -> str:
    """``text`` as a quoted value of a login configuration."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
