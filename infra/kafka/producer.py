"""Sends messages and tells whether they arrived; knows bytes, not events."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from infra.clock import Clock, SystemClock
from infra.errors import SpringtideError
from infra.kafka.connection import Trouble, opened, translated
from infra.spec import Kafka

SETTINGS: Final[dict[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 5,
    # As Java clients and Flink's sink choose it; the library's own default is another hash.
    "partitioner": "murmur2_random",
    "queue.buffering.max.kbytes": 65_536,
}
DELIVERY_TIMEOUT_S: Final = 30.0
SERVE_SECONDS: Final = 0.1
# The client looks once a second for messages whose time has run out, and may be late itself.
GIVEN_UP_WITHIN_S: Final = 2.0


@dataclass(frozen=True)
class Delivery:
    """Where a message came to stand; ``timestamp_ms`` is Kafka's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class Producer:
    """Sends in the background; the first failure is raised by the next ``send``, ``flush`` or ``close``.

    Safe for many threads. Messages of one partition arrive in the order sent, none twice.

    Args:
        kafka: The cluster.
        delivery_timeout: Seconds after which an undelivered message is given up.
        clock: For the bounded wait on a full queue.
    """

    def __init__(
        self, kafka: Kafka, *, delivery_timeout: float = DELIVERY_TIMEOUT_S, clock: Clock | None = None
    ) -> None:
        self._kafka = kafka
        self._timeout = delivery_timeout
        self._clock = clock or SystemClock()
        self._trouble = Trouble(kafka, "producer")
        self._lock = threading.Lock()
        self._failure: SpringtideError | None = None
        # After it the client sends nothing more.
        self._ended: SpringtideError | None = None
        self._client = opened(
            kafka,
            Client,
            {**SETTINGS, "message.timeout.ms": int(delivery_timeout * 1000), "error_cb": self._trouble},
        )

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        delivered: Callable[[Delivery], None] | None = None,
    ) -> None:
        """Queues one message; waits while the queue is full.

        Args:
            topic: An existing topic.
            value: The body; None is a tombstone.
            key: Decides the partition unless ``partition`` does (murmur2, as Java clients do it).
            partition: The partition, or None.
            timestamp_ms: The record's time, or None for now.
            delivered: Called by a later ``send``, ``poll``, ``flush`` or ``close`` once the broker has the message.

        Raises:
            Unavailable: An earlier message was given up, or the queue stayed full.
            Invalid: The message is too large, or login or rights are refused.
        """
        more: dict[str, Any] = {}
        if partition is not None:
            more["partition"] = partition
        if timestamp_ms is not None:
            more["timestamp"] = timestamp_ms

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failed(self._trouble.explained(error, f"send to topic `{topic}`"))
                return
            self._trouble.cleared()
            if delivered is not None:
                delivered(Delivery(topic, message.partition(), message.offset(), message.timestamp()[1]))

        deadline = self._clock.monotonic() + self._timeout
        while True:
            self._raise_failure()
            try:
                self._client.produce(topic, value, key=key, on_delivery=on_delivery, **more)
            except BufferError:
                if self._clock.monotonic() > deadline:
                    raise self._trouble.silence(f"send to topic `{topic}`: the queue stays full") from None
                self._serve(0.05)
                continue
            except KafkaException as error:
                if error.args[0].code() == KafkaError._FATAL:
                    self._serve(SERVE_SECONDS)  # raises what was fatal
                raise translated(self._kafka, error.args[0], f"send to topic `{topic}`") from None
            break
        self._serve(0)

    def poll(self) -> None:
        """Calls what is due of earlier messages without sending one; the same errors."""
        self._serve(0)
        self._raise_failure()

    def flush(self, timeout: float | None = None) -> None:
        """Waits until every queued message is delivered.

        Args:
            timeout: Seconds; by default as long as a message may take.

        Raises:
            Unavailable: Some were given up, or are still on their way after ``timeout``.
            Invalid: The broker refused one for good.
        """
        deadline = self._clock.monotonic() + (self._timeout + GIVEN_UP_WITHIN_S if timeout is None else timeout)
        while len(self._client) and (left := deadline - self._clock.monotonic()) > 0:
            self._serve(min(SERVE_SECONDS, left))
        self._raise_failure()
        if len(self._client):
            raise self._trouble.silence(f"send: {len(self._client)} messages not delivered")

    def _serve(self, seconds: float) -> None:
        """Lets the client call what is due, waiting ``seconds`` for something.

        Its own ``flush`` is no choice: it goes on calling after an error for good has raised, which ends the process.
        """
        try:
            self._client.poll(seconds)
        except KafkaException as error:
            with self._lock:
                self._ended = translated(self._kafka, error.args[0], "send")
            self._raise_failure()

    def close(self) -> None:
        """Flushes; the same errors."""
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._client.purge()

    def _failed(self, error: SpringtideError) -> None:
        with self._lock:
            self._failure = self._failure or error

    def _raise_failure(self) -> None:
        with self._lock:
            failure, self._failure = self._ended or self._failure, None
        if failure is not None:
            raise failure
