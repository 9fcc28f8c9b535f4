"""Which topics a cluster has and ought to have; reads and creates them, never reads or writes messages."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from infra.clock import Clock, SystemClock
from infra.errors import Invalid, SpringtideError, Unavailable
from infra.kafka.connection import METADATA_TIMEOUT_S, Trouble, opened
from infra.logs import logger
from infra.spec import Kafka

_log = logger()

CREATE_TIMEOUT_S: Final = 15.0
PROBE_S: Final = 0.5
_LARGEST: Final = "max.message.bytes"


@dataclass(frozen=True)
class TopicSettings:
    """A topic as it ought to be.

    Attributes:
        name: Its name.
        partitions: How many partitions.
        replication: On how many brokers each message is kept.
        retention_ms: None keeps the broker's default, -1 keeps messages for ever.
        cleanup: What happens to old messages.
        settings: Kafka's other topic settings, for a new topic.
        largest_message: Bytes that a message may have at least, in a topic that exists too; None keeps the broker's.
    """

    name: str
    partitions: int = 1
    replication: int = 1
    retention_ms: int | None = None
    cleanup: Literal["delete", "compact"] = "delete"
    settings: Mapping[str, str] = field(default_factory=dict)
    largest_message: int | None = None


@dataclass(frozen=True)
class TopicDescription:
    """A topic as it is; ``topic_id`` changes when a topic is deleted and made again."""

    name: str
    topic_id: str
    partitions: tuple[int, ...]


@dataclass(frozen=True)
class ClusterDescription:
    """A cluster as it is."""

    cluster_id: str
    brokers: tuple[str, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True)
class TopicShortfall:
    """A topic that exists with fewer partitions than wanted."""

    name: str
    partitions: int
    wanted: int


class TopicsMissing(Invalid):
    """Topics that somebody else makes are not there, by these names or yet."""


class KafkaAdmin:
    """Topics of one cluster. Safe for many threads.

    Every method may raise :class:`~infra.errors.Unavailable` (no broker within the timeout) or
    :class:`~infra.errors.Invalid` (login, TLS or rights refused).
    """

    def __init__(self, kafka: Kafka, *, clock: Clock | None = None) -> None:
        self._kafka = kafka
        self._clock = clock or SystemClock()
        self._trouble = Trouble(kafka, "admin")
        self._client = opened(kafka, AdminClient, {"error_cb": self._trouble})

    def describe(self, timeout: float = METADATA_TIMEOUT_S) -> ClusterDescription:
        """Asks a broker for the cluster; real proof that it answers.

        Args:
            timeout: Seconds.
        """
        metadata = self._metadata(timeout)
        brokers = sorted(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values())
        return ClusterDescription(str(metadata.cluster_id), tuple(brokers), tuple(sorted(metadata.topics)))

    def topics(self, names: Sequence[str], timeout: float = METADATA_TIMEOUT_S) -> dict[str, TopicDescription]:
        """What the named topics are; absent ones are absent from the answer."""
        found: dict[str, TopicDescription] = {}
        if not names:
            return found
        answers: dict[str, Future[Any]] = self._client.describe_topics(
            TopicCollection(list(names)), request_timeout=timeout
        )
        for name, answer in answers.items():
            try:
                description = answer.result()
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                raise self._explained(error.args[0], f"describe topic `{name}`") from None
            partitions = tuple(sorted(partition.id for partition in description.partitions))
            found[name] = TopicDescription(name, str(description.topic_id), partitions)
        return found

    def require_topics(self, names: Iterable[str], timeout: float = METADATA_TIMEOUT_S) -> None:
        """Makes sure that all of ``names`` exist.

        Raises:
            TopicsMissing: Names every missing topic and the nearest existing one.
            Invalid: The brokers refuse the login.
        """
        existing = self.describe(timeout).topics
        lines = []
        for name in names:
            if name in existing:
                continue
            near = difflib.get_close_matches(name, existing, n=1)
            lines.append(f"topic `{name}` not found" + (f"; nearest `{near[0]}`" if near else ""))
        if lines:
            cure = "create it, or correct the pipeline"
            if self._kafka.security != "plaintext":
                # Brokers show nobody what he may not describe.
                cure = "create it, correct the pipeline, or grant the rights that `springtide doctor --acls` lists"
            raise TopicsMissing("\n".join(lines), cure=cure, where=self._kafka.bootstrap)

    def ensure_topics(self, wanted: Sequence[TopicSettings]) -> list[TopicShortfall]:
        """Creates the topics that are absent; existing ones stay as they are, but may take larger messages afterwards.

        Returns:
            The topics that have fewer partitions than wanted; each is logged as well.
        """
        existing = self.topics([topic.name for topic in wanted])
        absent = [_new_topic(topic) for topic in wanted if topic.name not in existing]
        if absent:
            answers = self._client.create_topics(
                absent, operation_timeout=CREATE_TIMEOUT_S, request_timeout=CREATE_TIMEOUT_S
            )
            for name, answer in answers.items():
                self._created(name, answer)
            self._await_topics({topic.topic for topic in absent})
        self._raise_limits({topic.name: topic.largest_message for topic in wanted if topic.name in existing})
        shortfalls = [
            TopicShortfall(topic.name, len(existing[topic.name].partitions), topic.partitions)
            for topic in wanted
            if topic.name in existing and len(existing[topic.name].partitions) < topic.partitions
        ]
        for short in shortfalls:
            _log.warning("topic_has_fewer_partitions", topic=short.name, have=short.partitions, wanted=short.wanted)
        return shortfalls

    def delete_topics(self, names: Sequence[str]) -> None:
        """Deletes topics of Springtide's own; absent ones are no error."""
        if not names:
            return
        for name, answer in self._client.delete_topics(list(names), operation_timeout=CREATE_TIMEOUT_S).items():
            try:
                answer.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise self._explained(error.args[0], f"delete topic `{name}`") from None

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Deletes each partition's messages before an offset, as retention would."""
        places = [TopicPartition(topic, partition, offset) for partition, offset in before.items()]
        for place, answer in self._client.delete_records(places).items():
            try:
                answer.result()
            except KafkaException as error:
                raise self._explained(error.args[0], f"delete records of {topic}[{place.partition}]") from None

    def group_offsets(self, group: str) -> dict[tuple[str, int], int]:
        """What lag tools see of ``group``: its offset per topic and partition."""
        (answer,) = self._client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        try:
            places = answer.result().topic_partitions
        except KafkaException as error:
            raise self._explained(error.args[0], f"ask for the offsets of group `{group}`") from None
        return {(place.topic, place.partition): place.offset for place in places}

    def ready(self, timeout: float) -> ClusterDescription:
        """Waits until a broker answers, at most ``timeout`` seconds; a refused login ends the wait at once."""
        deadline = self._clock.monotonic() + timeout
        while True:
            left = deadline - self._clock.monotonic()
            try:
                return self.describe(max(0.05, min(PROBE_S, left)))
            except Unavailable:
                if left <= PROBE_S:
                    raise
                self._clock.sleep(0.05)

    def _created(self, name: str, answer: Future[None]) -> None:
        try:
            answer.result()
            _log.info("topic_created", topic=name)
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return
            if reason.code() in {KafkaError.INVALID_REPLICATION_FACTOR, KafkaError.INVALID_PARTITIONS}:
                what = f"topic `{name}` cannot be created: {reason.str()}"
                raise Invalid(what, cure="correct `samples`", where=self._kafka.bootstrap) from None
            raise self._explained(reason, f"create topic `{name}`") from None

    def _raise_limits(self, wanted: Mapping[str, int | None]) -> None:
        """Lets topics take messages as large as ``wanted``; where that is not allowed it is logged with the cure."""
        asked = {name: most for name, most in wanted.items() if most is not None}
        small = self._too_small(asked)
        if not small:
            return
        raised, entries = {}, []
        for name, most in small.items():
            entry = ConfigEntry(_LARGEST, str(most), incremental_operation=AlterConfigOpType.SET)
            entries.append(ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry]))
        for resource, answer in self._client.incremental_alter_configs(entries).items():
            with self._allowed(resource.name, small[resource.name]):
                answer.result()
                raised[resource.name] = small[resource.name]
                _log.info("topic_takes_larger_messages", topic=resource.name, bytes=small[resource.name])
        # Brokers answer from a copy that is behind for a moment: who asks next must not lower what was just raised.
        deadline = self._clock.monotonic() + CREATE_TIMEOUT_S
        while raised and self._too_small(raised) and self._clock.monotonic() < deadline:
            self._clock.sleep(0.02)

    def _too_small(self, asked: Mapping[str, int]) -> dict[str, int]:
        """Those topics of ``asked`` that take smaller messages only."""
        small = {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in asked]
        for resource, answer in (self._client.describe_configs(resources) if resources else {}).items():
            with self._allowed(resource.name, asked[resource.name]):
                if int(answer.result()[_LARGEST].value) < asked[resource.name]:
                    small[resource.name] = asked[resource.name]
        return small

    @contextmanager
    def _allowed(self, topic: str, bytes_wanted: int) -> Iterator[None]:
        """Logs where the topic's settings may not be read or changed, as nothing but rare large messages needs it."""
        try:
            yield
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() not in {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}:
                raise self._explained(reason, f"read or change the settings of topic `{topic}`") from None
            _log.warning("topic_limit_unknown", topic=topic, cure=f"set its {_LARGEST} to {bytes_wanted} or more")

    def _await_topics(self, names: set[str]) -> None:
        """A created topic takes a moment to reach every broker; a reader must not start before."""
        deadline = self._clock.monotonic() + CREATE_TIMEOUT_S
        while not names <= set(self.describe().topics):
            if self._clock.monotonic() > deadline:
                missing = ", ".join(sorted(names - set(self.describe().topics)))
                raise Unavailable(f"kafka: created topics do not appear: {missing}", where=self._kafka.bootstrap)
            self._clock.sleep(0.02)

    def _metadata(self, timeout: float) -> Any:
        try:
            metadata = self._client.list_topics(timeout=timeout)
        except KafkaException as error:
            raise self._explained(error.args[0], "describe the cluster") from None
        self._trouble.cleared()
        return metadata

    def _explained(self, error: KafkaError, doing: str) -> SpringtideError:
        self._client.poll(0)
        return self._trouble.explained(error, doing)


def creation_settings(topic: TopicSettings) -> dict[str, str]:
    """The settings with which a topic is created, by Kafka's names."""
    found = {**topic.settings, "cleanup.policy": topic.cleanup}
    if topic.retention_ms is not None:
        found["retention.ms"] = str(topic.retention_ms)
    if topic.largest_message is not None:
        found[_LARGEST] = str(topic.largest_message)
    return found


def _new_topic(topic: TopicSettings) -> NewTopic:
    return NewTopic(topic.name, topic.partitions, topic.replication, config=creation_settings(topic))


def ready(kafka: Kafka, timeout: float) -> ClusterDescription:
    """Waits until a broker of ``kafka`` answers a metadata request, at most ``timeout`` seconds.

    Raises:
        Unavailable: None did.
        Invalid: The login or TLS is refused.
    """
    return KafkaAdmin(kafka).ready(timeout)
