"""How a Kafka client reaches its brokers, and what its errors mean; knows no topic's content."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from infra.errors import Invalid, SpringtideError, Unavailable
from infra.logs import logger
from infra.secrets import read_secret, reference
from infra.spec import Kafka

_log = logger()

# librdkafka keeps reconnecting by itself; these only bound how long one attempt and one pause may take.
COMMON: Final[dict[str, Any]] = {
    "client.id": "springtide",
    "socket.connection.setup.timeout.ms": 5_000,
    "socket.keepalive.enable": True,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1_000,
    "topic.metadata.refresh.interval.ms": 30_000,
    "topic.metadata.propagation.max.ms": 3_000,
    "allow.auto.create.topics": False,
    # Its own lines go to stderr at any time; what matters of them reaches us as errors.
    "log_level": 0,
}
METADATA_TIMEOUT_S: Final = 5.0

_LOGIN: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
_LOST: Final = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._SSL,
    }
)
_NOT_ALLOWED: Final = ("not allowed", "grant the rights that `springtide doctor --acls` lists")
_TOO_LARGE: Final = ("the message is too large", "raise the topic's max.message.bytes, or send less")
# What the broker refuses for good, and what to do about it.
_REFUSED: Final[dict[int, tuple[str, str]]] = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: _NOT_ALLOWED,
    KafkaError.GROUP_AUTHORIZATION_FAILED: _NOT_ALLOWED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: _NOT_ALLOWED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: _NOT_ALLOWED,
    KafkaError.MSG_SIZE_TOO_LARGE: _TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE: _TOO_LARGE,
}
NO_TOPIC: Final = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)
_UNTRUSTED = re.compile(r"certificate verify failed|alert (number|unknown ca|bad certificate|certificate)", re.I)
_DECORATION = re.compile(r"^(\[[^]]*\]: |[a-z_]+://)?(\S+/\S+: )?")


def settings(kafka: Kafka) -> dict[str, Any]:
    """The client settings for ``kafka``: addresses, TLS and SASL with its secrets resolved.

    Raises:
        Invalid: A secret is not there.
    """
    found: dict[str, Any] = {
        **COMMON,
        "bootstrap.servers": kafka.bootstrap,
        "security.protocol": kafka.security,
    }
    if kafka.sasl is not None:
        found["sasl.mechanism"] = kafka.sasl.mechanism
        found["sasl.username"] = read_secret(kafka.sasl.username)
        found["sasl.password"] = read_secret(kafka.sasl.password)
    if kafka.tls is not None:
        for key in ("ca", "certificate", "key"):
            path: str | None = getattr(kafka.tls, key)
            if path is not None and not Path(path).is_file():
                # The library names its setting only, not the file.
                raise Invalid(f"`kafka.tls.{key}`: no file `{path}`", cure="correct it, or mount the file there")
            if path is not None:
                found[f"ssl.{key}.location"] = path
        if kafka.tls.key_password is not None:
            found["ssl.key.password"] = read_secret(kafka.tls.key_password)
    return found


Client = TypeVar("Client")


def opened(kafka: Kafka, make: Callable[[dict[str, Any]], Client], more: Mapping[str, Any]) -> Client:
    """A client of the library with :func:`settings` and ``more``.

    Raises:
        Invalid: A secret is not there, or the client refuses a setting, such as an absent certificate file.
    """
    try:
        return make({**settings(kafka), **more})
    except KafkaException as error:
        raise Invalid(f"kafka: {error.args[0].str()}", cure="check `kafka`", where=kafka.bootstrap) from None


def unreachable(kafka: Kafka, doing: str, detail: str = "") -> Unavailable:
    """No broker answers."""
    what = f"kafka: {doing}: no broker answers" + (f" ({detail})" if detail else "")
    cure = "start Kafka, or correct `kafka`"
    if "SSL_HANDSHAKE" in detail:
        # By chance the library guesses at that itself, or sees no more than the connection's end.
        cure = "correct `kafka.bootstrap` or `kafka.security`: so ends TLS with a listener that has none"
    return Unavailable(what, cure=cure, where=kafka.bootstrap)


def translated(kafka: Kafka, error: KafkaError, doing: str) -> SpringtideError:
    """``error`` of the client as one of our kinds; never quotes a secret.

    Args:
        kafka: Where the client wanted to go.
        error: What it reports.
        doing: The request and its object, such as ``read topic `clicks```.
    """
    code, text = error.code(), _DECORATION.sub("", error.str())[:200]
    if code in _LOGIN:
        cure = "set `kafka.security` and `kafka.sasl`"
        if kafka.sasl is not None:
            cure = f"check user ({reference(kafka.sasl.username)}) and password ({reference(kafka.sasl.password)})"
        return Invalid(f"kafka: {doing}: the broker refuses the login", cure=cure, where=kafka.bootstrap)
    if code in _LOST and _UNTRUSTED.search(text):
        # Which of both it is, the library does not tell.
        cure = "check `kafka.tls`, and that the broker's certificate has not expired"
        return Invalid(f"kafka: {doing}: TLS failed: {text}", cure=cure, where=kafka.bootstrap)
    if code in _LOST:
        # "0/2 brokers are down" and the like confuse more than they tell.
        return unreachable(kafka, doing, "" if code == KafkaError._ALL_BROKERS_DOWN else text)
    if code in _REFUSED:
        what, cure = _REFUSED[code]
        return Invalid(f"kafka: {doing}: {what}", cure=cure, where=kafka.bootstrap)
    if code in NO_TOPIC:
        return no_topic(kafka, doing)
    return Unavailable(f"kafka: {doing}: {error.name()}: {text}", cure="look at the broker", where=kafka.bootstrap)


def no_topic(kafka: Kafka, doing: str) -> Unavailable:
    """The topic is not there, or not yet."""
    return Unavailable(f"kafka: {doing}: no such topic or partition", cure="create the topic", where=kafka.bootstrap)


class Trouble:
    """Why a client has no connection, as it tells beside its answers; logged once per change. For many threads."""

    def __init__(self, kafka: Kafka, client: str) -> None:
        self._kafka = kafka
        self._client = client
        self._lock = threading.Lock()
        self._reason: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """The client's error callback."""
        if error.code() not in _LOST | _LOGIN:
            return
        with self._lock:
            # The first reason says more than "all brokers are down", which follows from it; a login, most.
            known = self._reason
            vague = known is not None and known.code() == KafkaError._ALL_BROKERS_DOWN
            if known is not None and not vague and error.code() not in _LOGIN - {known.code()}:
                return
            self._reason = error
            if vague and error.code() not in _LOGIN:
                return
        _log.warning("kafka_trouble", client=self._client, error=translated(self._kafka, error, self._client))

    def cleared(self) -> None:
        """The client is connected again."""
        with self._lock:
            gone, self._reason = self._reason, None
        if gone is not None:
            _log.info("kafka_connected", client=self._client)

    def explained(self, error: KafkaError, doing: str) -> SpringtideError:
        """``error`` as one of our kinds, by the reason behind it: a refused login shows only as silence to requests."""
        with self._lock:
            reason = self._reason if error.code() in _LOST else None
        return translated(self._kafka, reason or error, doing)

    def silence(self, doing: str) -> SpringtideError:
        """Why nothing comes."""
        return self.explained(KafkaError(KafkaError._TRANSPORT, "silence"), doing)

    @property
    def refused(self) -> bool:
        """Whether waiting cannot help."""
        with self._lock:
            reason = self._reason
        return reason is not None and isinstance(translated(self._kafka, reason, ""), Invalid)
