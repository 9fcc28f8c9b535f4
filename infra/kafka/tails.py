"""Reads several topics to their ends with one client, for who wants to know soon, not at once; stores no positions."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from infra.clock import Clock, SystemClock
from infra.errors import SpringtideError, Unavailable
from infra.kafka.connection import METADATA_TIMEOUT_S, NO_TOPIC, Trouble, no_topic, opened
from infra.kafka.consuming import CONSUMING, SILENCE_S, brokers_answer, partitions_known
from infra.kafka.positions import Finder
from infra.logs import logger
from infra.spec import Kafka

_log = logger()

SETTINGS: Final[dict[str, Any]] = {
    **CONSUMING,
    # Brokers may gather: each fetch and each answer costs a client more than the messages in it.
    "fetch.min.bytes": 256 << 10,
    "statistics.interval.ms": 1_000,
}
CHUNK: Final = 10_000
# A client needs some answers from brokers until it knows a topic that was begun.
BEGINNING_MS: Final = 2_000
_MOVED: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})


# Partition, offset, Kafka's time in milliseconds, key, and body, of which None is a tombstone. A plain tuple: to make
# one with names costs as much as to fetch the message.
Record = tuple[int, int, int, bytes | None, bytes | None]


class TopicTails:
    """Topics that are read from some time on; not safe for several threads at once.

    Args:
        kafka: The cluster.
        group: The client's group; nothing is read from it or written to it.
        clock: For bounded waits.
        patience_ms: How long a broker may gather messages before it answers.
    """

    def __init__(self, kafka: Kafka, *, group: str, clock: Clock | None = None, patience_ms: int = 100) -> None:
        self._kafka = kafka
        self._clock = clock or SystemClock()
        self._partitions: dict[str, list[int]] = {}
        self._begun_ms: dict[str, int] = {}
        self._absent: set[str] = set()
        self._trouble = Trouble(kafka, f"reader of {group}")
        self._heard = self._clock.monotonic()
        self._client: Consumer = opened(
            kafka,
            Consumer,
            {
                **SETTINGS,
                "fetch.wait.max.ms": patience_ms,
                "group.id": group,
                "error_cb": self._trouble,
                "stats_cb": self._on_statistics,
            },
        )
        self._finder = Finder(self._client, self._explained)

    def begin(self, topic: str, start_ms: int, *, newest: int = 0, timeout: float = METADATA_TIMEOUT_S) -> None:
        """Begins to read a topic; what :meth:`read` gives of it before is unaffected.

        Args:
            topic: The topic.
            start_ms: With the first message not older than this, milliseconds,
            newest: or earlier, so that so many of the newest messages of each partition are read.
            timeout: Seconds for each request.

        Raises:
            Unavailable: No broker answers, or there is no such topic.
            Invalid: Login, TLS or rights are refused.
        """
        found = self._finder.positions_at(topic, start_ms, timeout, newest=newest)
        self._connected()
        self._client.incremental_assign([TopicPartition(topic, each, at) for each, at in found.items()])
        self._partitions[topic] = list(found)
        self._begun_ms[topic] = self._clock.now_ms()
        self._absent.discard(topic)

    def reads(self, topic: str) -> bool:
        """Whether the topic is read."""
        return topic in self._partitions

    def read(self, most: int) -> tuple[dict[str, list[Record]], dict[str, SpringtideError]]:
        """What has arrived since the last call.

        Args:
            most: At most so many messages, and at most one call's worth more.

        Returns:
            Per topic its messages, within a partition in their order; and per topic why it is not read. A topic whose
            messages were lost, or that was made anew, must be begun again: :meth:`reads` says so.
        """
        found: defaultdict[str, list[Record]] = defaultdict(list)
        failed: dict[str, SpringtideError] = {}
        taken = 0
        while taken < most:
            messages = self._client.consume(CHUNK, 0)
            for message in messages:
                topic = message.topic()
                if message.error() is not None:
                    failed[topic] = self._failure(topic, message)
                elif topic in self._partitions:
                    found[topic].append(
                        (message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value())
                    )
            taken += len(messages)
            if not messages:
                break
        for topic in self._partitions:
            if topic not in failed and (why := self._silence(topic)) is not None:
                failed[topic] = why
        return found, failed

    def close(self) -> None:
        """Ends reading; the tails are of no use afterwards."""
        self._client.close()

    def _failure(self, topic: str, message: Message) -> SpringtideError:
        error = message.error()
        if error.code() in _MOVED | NO_TOPIC and topic in self._partitions:
            left = [TopicPartition(topic, each) for each in self._partitions.pop(topic)]
            self._client.incremental_unassign(left)
        if error.code() in _MOVED:
            what = f"kafka: what was to be read next of topic `{topic}` is gone"
            return Unavailable(what, cure="none needed: reading goes on with what comes now", where=topic)
        return self._trouble.explained(error, f"read topic `{topic}`")

    def _explained(self, error: KafkaError, doing: str) -> SpringtideError:
        if not self._partitions:
            # Lets the client tell its troubles; with partitions assigned this could return a message.
            self._client.poll(0)
        return self._trouble.explained(error, doing)

    def _silence(self, topic: str) -> SpringtideError | None:
        doing = f"read topic `{topic}`"
        if self._trouble.refused or self._clock.monotonic() - self._heard > SILENCE_S:
            return self._trouble.silence(doing)
        return no_topic(self._kafka, doing) if topic in self._absent else None

    def _connected(self) -> None:
        self._heard = self._clock.monotonic()
        self._trouble.cleared()

    def _on_statistics(self, text: str) -> None:
        """Once a second: a broker in state UP is the only proof of life when idle."""
        statistics = orjson.loads(text)
        if not brokers_answer(statistics):
            return
        self._connected()
        # They are told when the client is asked next: older ones know nothing of what was begun since.
        latest_ms = statistics["time"] * 1000 - BEGINNING_MS
        self._absent = {
            topic
            for topic, partitions in self._partitions.items()
            if self._begun_ms[topic] < latest_ms and not partitions_known(statistics, topic, partitions)
        }
