"""The only door to Kafka: reading by position, sending, topics; knows bytes and offsets, not what they mean.

``PartitionReader(kafka, topic, group=...)``: ``assign({partition: offset})``, ``poll_batch(max_messages, timeout) ->
Batch``, ``positions()``, ``positions_at("beginning" | "end" | timestamp_ms)``, ``partitions()``, ``watermarks() ->
{partition: (low, high)}``, ``behind()``, ``mirror_offsets(positions)``, ``close()``.
``TopicTails(kafka, group=...)``: ``begin(topic, start_ms)``, ``read(most) -> {topic: [Record]}``, several topics by one
client. ``Batch``: ``partitions``, ``offsets``, ``timestamps_ms`` (numpy), ``keys``, ``values`` (lists), ``runs()``,
``next_positions()``. ``Producer(kafka)``: ``send(topic, value, key=, partition=, timestamp_ms=, delivered=)``,
``flush()``. ``KafkaAdmin(kafka)``: ``ensure_topics([TopicSettings])``, ``require_topics(names)``, ``describe()``,
``topics(names)``, ``delete_topics(names)``. ``ready(kafka, timeout)``.
"""

# SPDX-License-Identifier: Apache-2.0
from infra.kafka.batch import Batch
from infra.kafka.positions import Watermarks
from infra.kafka.producer import Delivery, Producer
from infra.kafka.reader import PartitionReader, PositionOutOfRange
from infra.kafka.tails import Record, TopicTails
from infra.kafka.topics import (
    ClusterDescription,
    KafkaAdmin,
    TopicDescription,
    TopicSettings,
    TopicShortfall,
    TopicsMissing,
    creation_settings,
    ready,
)

__all__ = [
    "Batch",
    "ClusterDescription",
    "Delivery",
    "KafkaAdmin",
    "PartitionReader",
    "PositionOutOfRange",
    "Producer",
    "Record",
    "TopicDescription",
    "TopicSettings",
    "TopicShortfall",
    "TopicTails",
    "TopicsMissing",
    "Watermarks",
    "creation_settings",
    "ready",
]
