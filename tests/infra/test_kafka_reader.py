"""Reading a real broker by positions kept outside: order, exactness, named stops, silence told."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from confluent_kafka import Producer as RawProducer

from infra.clock import SystemClock
from infra.errors import Invalid, Unavailable
from infra.kafka import Batch, Delivery, KafkaAdmin, PartitionReader, PositionOutOfRange, Producer, TopicSettings
from infra.kafka import reader as reader_module
from infra.local.kafka_server import KafkaServer
from infra.local.ports import free_ports
from infra.spec import Kafka

PATIENCE_S = 20.0


@pytest.fixture
def kafka(local_kafka: KafkaServer) -> Kafka:
    return Kafka(bootstrap=local_kafka.bootstrap)


@pytest.fixture
def topic(kafka: Kafka, unique: Callable[[str], str]) -> str:
    name = unique("reader")
    KafkaAdmin(kafka).ensure_topics([TopicSettings(name, partitions=2)])
    return name


@pytest.fixture
def reader(kafka: Kafka, topic: str, unique: Callable[[str], str]) -> Iterator[PartitionReader]:
    with PartitionReader(kafka, topic, group=unique("group")) as opened:
        yield opened


def fill(kafka: Kafka, topic: str, count: int) -> list[Delivery]:
    """Sends ``v0`` to ``v<count-1>``, alternating between two partitions."""
    delivered: list[Delivery] = []
    with Producer(kafka) as producer:
        for number in range(count):
            value, key = f"v{number}".encode(), f"k{number}".encode()
            producer.send(topic, value, key=key, partition=number % 2, delivered=delivered.append)
    return delivered


def read(reader: PartitionReader, count: int, at_a_time: int = 1000) -> list[Batch]:
    clock = SystemClock()
    end = clock.monotonic() + PATIENCE_S
    batches: list[Batch] = []
    while sum(map(len, batches)) < count and clock.monotonic() < end:
        batch = reader.poll_batch(at_a_time, 0.2)
        assert len(batch) <= at_a_time
        batches.append(batch)
    return [batch for batch in batches if len(batch)]


def test_everything_is_read_once_in_order_with_its_places(kafka: Kafka, topic: str, reader: PartitionReader) -> None:
    delivered = fill(kafka, topic, 1000)
    reader.assign(reader.positions_at("beginning"))
    assert reader.positions() == {0: 0, 1: 0}
    batches = read(reader, 1000, at_a_time=37)
    seen: dict[int, list[bytes | None]] = {0: [], 1: []}
    for batch in batches:
        assert batch.topic == topic
        assert [batch.partitions.dtype, batch.offsets.dtype] == [np.dtype(np.int32), np.dtype(np.int64)]
        for partition, offset, value, key in zip(
            batch.partitions, batch.offsets, batch.values, batch.keys, strict=True
        ):
            assert offset == len(seen[partition])
            assert key == value.replace(b"v", b"k") if value else False
            seen[int(partition)].append(value)
    assert seen == {side: [f"v{number}".encode() for number in range(side, 1000, 2)] for side in (0, 1)}
    assert reader.positions() == {0: 500, 1: 500}
    stamps = {(each.partition, each.offset): each.timestamp_ms for each in delivered}
    places = zip(batches[0].partitions.tolist(), batches[0].offsets.tolist(), strict=True)
    assert [stamps[place] for place in places] == batches[0].timestamps_ms.tolist()


def test_while_it_is_held_the_client_is_heard_and_nothing_is_lost(
    kafka: Kafka, topic: str, reader: PartitionReader
) -> None:
    fill(kafka, topic, 20)
    reader.assign({0: 0, 1: 0})
    first = [value for batch in read(reader, 3, at_a_time=3) for value in batch.values]
    heard = reader._heard
    clock = SystemClock()
    end = clock.monotonic() + PATIENCE_S
    while reader._heard == heard and clock.monotonic() < end:
        reader.hold(0.05)
    assert reader._held and reader._heard > heard  # the statistics of meanwhile
    positions = reader.positions()
    reader.hold(0.2)
    assert reader.positions() == positions
    rest = [value for batch in read(reader, 20 - len(first)) for value in batch.values]
    assert sorted(first + rest, key=str) == sorted((f"v{number}".encode() for number in range(20)), key=str)


def test_a_reader_resumes_where_it_is_told_and_reads_no_other_partition(
    kafka: Kafka, topic: str, reader: PartitionReader
) -> None:
    fill(kafka, topic, 20)
    reader.assign({1: 7})
    assert [value for batch in read(reader, 3) for value in batch.values] == [b"v15", b"v17", b"v19"]
    assert len(reader.poll_batch(10, 0.3)) == 0
    assert reader.positions() == {1: 10}
    reader.assign({0: 9})
    assert [value for batch in read(reader, 1) for value in batch.values] == [b"v18"]
    assert reader.positions() == {0: 10}


def test_the_same_runs_read_again_give_the_same_bytes(kafka: Kafka, topic: str, reader: PartitionReader) -> None:
    fill(kafka, topic, 300)
    reader.assign(reader.positions_at("beginning"))
    batches = read(reader, 300, at_a_time=64)
    for batch in batches:
        again: list[bytes | None] = []
        for partition, start, end in batch.runs():
            reader.assign({partition: start})
            again += [value for part in read(reader, end - start, at_a_time=end - start) for value in part.values]
        assert again == batch.values


def test_starts_by_beginning_end_and_time(kafka: Kafka, topic: str, reader: PartitionReader) -> None:
    with Producer(kafka) as producer:
        for number in range(6):
            producer.send(topic, b"x", partition=number % 2, timestamp_ms=1_000_000 + 1000 * number)
    assert reader.watermarks() == {0: (0, 3), 1: (0, 3)}
    assert reader.positions_at("beginning") == {0: 0, 1: 0}
    assert reader.positions_at("end") == {0: 3, 1: 3}
    assert reader.positions_at(0) == {0: 0, 1: 0}
    assert reader.positions_at(1_002_000) == {0: 1, 1: 1}
    assert reader.positions_at(1_002_001) == {0: 2, 1: 1}
    assert reader.positions_at(9_000_000) == {0: 3, 1: 3}


def test_a_message_is_read_within_milliseconds_on_an_idle_topic(
    kafka: Kafka, topic: str, reader: PartitionReader
) -> None:
    clock = SystemClock()
    reader.assign(reader.positions_at("end"))
    waits = []
    with Producer(kafka) as producer:
        for number in range(31):
            began = clock.monotonic()
            producer.send(topic, b"x", partition=number % 2)
            assert len(reader.poll_batch(1000, PATIENCE_S)) == 1
            waits.append(clock.monotonic() - began)
    assert sorted(waits)[15] < 0.1


def test_lag_is_known_without_asking(kafka: Kafka, topic: str, reader: PartitionReader) -> None:
    fill(kafka, topic, 10)
    reader.assign({0: 0})
    read(reader, 1, at_a_time=1)
    assert reader.behind() == 4
    read(reader, 4)
    assert reader.behind() == 0


@pytest.mark.parametrize("position", [99, -5])
def test_a_position_out_of_range_is_a_named_stop(
    kafka: Kafka, topic: str, reader: PartitionReader, position: int
) -> None:
    fill(kafka, topic, 4)
    if position < 0:
        with pytest.raises(ValueError, match="position -5"):
            reader.assign({0: 0, 1: position})
        return
    reader.assign({0: 0, 1: position})
    with pytest.raises(PositionOutOfRange, match=rf"{topic}\[1\]  position 99 is out of range") as caught:
        read(reader, 5)
    assert caught.value.wanted == "an offset from 0 to 2"
    assert "--accept-gap" in caught.value.cure
    assert (caught.value.partition, caught.value.position, caught.value.watermarks) == (1, 99, (0, 2))
    assert isinstance(caught.value, Invalid)


def test_messages_deleted_by_retention_are_a_named_stop_not_a_silent_gap(
    kafka: Kafka, topic: str, reader: PartitionReader
) -> None:
    fill(kafka, topic, 10)
    KafkaAdmin(kafka).delete_records(topic, {0: 3})
    reader.assign({0: 1})
    with pytest.raises(PositionOutOfRange, match="position 1 is out of range; wanted an offset from 3 to 5"):
        read(reader, 5)
    reader.assign({0: 3})
    assert [value for batch in read(reader, 2) for value in batch.values] == [b"v6", b"v8"]


def test_aborted_transactions_are_not_read(kafka: Kafka, topic: str, reader: PartitionReader) -> None:
    writer = RawProducer({"bootstrap.servers": kafka.bootstrap, "transactional.id": topic})
    writer.init_transactions(PATIENCE_S)
    for value, keep in ((b"kept 1", True), (b"aborted", False), (b"kept 2", True)):
        writer.begin_transaction()
        writer.produce(topic, value, partition=0)
        writer.flush(PATIENCE_S)
        if keep:
            writer.commit_transaction(PATIENCE_S)
        else:
            writer.abort_transaction(PATIENCE_S)
    reader.assign({0: 0})
    assert [value for batch in read(reader, 2) for value in batch.values] == [b"kept 1", b"kept 2"]


def test_offsets_are_mirrored_for_lag_tools_and_never_read_back(
    kafka: Kafka, topic: str, unique: Callable[[str], str]
) -> None:
    fill(kafka, topic, 10)
    group = unique("group")
    clock = SystemClock()
    with PartitionReader(kafka, topic, group=group) as reader:
        reader.assign({0: 0, 1: 0})
        read(reader, 10)
        end = clock.monotonic() + PATIENCE_S
        while KafkaAdmin(kafka).group_offsets(group) != {(topic, 0): 5, (topic, 1): 5}:
            assert clock.monotonic() < end
            reader.mirror_offsets(reader.positions())
            reader.poll_batch(1, 0.1)
    with PartitionReader(kafka, topic, group=group) as reader:
        reader.assign({0: 0, 1: 0})
        assert sum(map(len, read(reader, 10))) == 10


def test_a_missing_topic_is_unavailable_and_read_once_it_is_there(
    kafka: Kafka, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "SILENCE_S", 0.5)
    name = unique("later")
    with PartitionReader(kafka, name) as reader:
        with pytest.raises(Unavailable, match=f"read topic `{name}`: no such topic"):
            reader.partitions()
        reader.assign({0: 0, 1: 0})
        with pytest.raises(Unavailable, match=f"read topic `{name}`: no such topic or partition. Cure: create"):
            read(reader, 1)
        KafkaAdmin(kafka).ensure_topics([TopicSettings(name, partitions=2)])
        fill(kafka, name, 2)
        reader.assign({0: 0, 1: 0})
        monkeypatch.setattr(reader_module, "SILENCE_S", PATIENCE_S)
        assert sum(map(len, read(reader, 2))) == 2


def test_a_silent_broker_is_told_and_an_idle_topic_is_not(
    kafka: Kafka, topic: str, reader: PartitionReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "SILENCE_S", 1.0)
    reader.assign({0: 0, 1: 0})
    for _ in range(15):
        assert len(reader.poll_batch(10, 0.1)) == 0
    dead = Kafka(bootstrap=f"127.0.0.1:{free_ports(1)[0]}")
    with PartitionReader(dead, topic) as nobody:
        nobody.assign({0: 0})
        with pytest.raises(
            Unavailable, match=rf"{dead.bootstrap}  kafka: read topic `{topic}`.*Connection refused.*Cure"
        ):
            read(nobody, 1)
