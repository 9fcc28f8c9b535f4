"""Several topics of a real broker by one client: each read once, from where it was wanted, and each trouble its own."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from infra.clock import SystemClock
from infra.errors import SpringtideError, Unavailable
from infra.kafka import Delivery, KafkaAdmin, Producer, Record, TopicSettings, TopicTails
from infra.local.kafka_server import KafkaServer
from infra.local.ports import free_ports
from infra.spec import Kafka

PATIENCE_S = 30.0
CLOCK = SystemClock()


@pytest.fixture
def kafka(local_kafka: KafkaServer) -> Kafka:
    return Kafka(bootstrap=local_kafka.bootstrap)


@pytest.fixture
def topics(kafka: Kafka, unique: Callable[[str], str]) -> list[str]:
    names = [unique("tail"), unique("tail")]
    KafkaAdmin(kafka).ensure_topics([TopicSettings(name, partitions=2) for name in names])
    return names


@pytest.fixture
def tails(kafka: Kafka, unique: Callable[[str], str]) -> Iterator[TopicTails]:
    made = TopicTails(kafka, group=unique("group"))
    yield made
    made.close()


def fill(kafka: Kafka, topic: str, values: range) -> list[Delivery]:
    """Sends the numbers, by turns to two partitions."""
    delivered: list[Delivery] = []
    with Producer(kafka) as producer:
        for number in values:
            producer.send(topic, b"%d" % number, key=b"k", partition=number % 2, delivered=delivered.append)
    return delivered


def read(
    tails: TopicTails, done: Callable[[dict[str, list[Record]], dict[str, SpringtideError]], object]
) -> tuple[dict[str, list[Record]], dict[str, SpringtideError]]:
    """What has come, and what is wrong now, as soon as that is ``done``."""
    found: dict[str, list[Record]] = {}
    end = CLOCK.monotonic() + PATIENCE_S
    while CLOCK.monotonic() < end:
        more, failed = tails.read(1_000)
        for topic, records in more.items():
            found.setdefault(topic, []).extend(records)
        if done(found, failed):
            return found, failed
        CLOCK.sleep(0.05)
    raise AssertionError(f"read {[(topic, len(records)) for topic, records in found.items()]}, failed {failed}")


def numbers(records: list[Record]) -> list[int]:
    return [int(value or b"") for *_, value in records]


def test_topics_are_read_once_and_in_order_beside_one_another(
    kafka: Kafka, topics: list[str], tails: TopicTails
) -> None:
    one, other = topics
    delivered = fill(kafka, one, range(500))
    tails.begin(one, 0)
    assert tails.reads(one) and not tails.reads(other)
    fill(kafka, other, range(10))
    tails.begin(other, 0)  # while the first is being read
    found, failed = read(tails, lambda found, _: sum(map(len, found.values())) >= 510)
    assert failed == {}
    for side in (0, 1):
        of_side = [record for record in found[one] if record[0] == side]
        assert numbers(of_side) == list(range(side, 500, 2))
        assert [record[1] for record in of_side] == list(range(250))
    assert sorted(numbers(found[other])) == list(range(10))
    stamps = {(each.partition, each.offset): each.timestamp_ms for each in delivered}
    assert all(stamps[partition, offset] == received for partition, offset, received, _, _ in found[one])
    fill(kafka, one, range(500, 503))
    found, _ = read(tails, lambda found, _: len(found.get(one, ())) >= 3)
    assert sorted(numbers(found[one])) == [500, 501, 502] and other not in found


def test_reading_begins_at_a_time_or_with_the_newest(kafka: Kafka, topics: list[str], tails: TopicTails) -> None:
    fill(kafka, topics[0], range(20))
    CLOCK.sleep(0.01)
    now = CLOCK.now_ms()
    tails.begin(topics[0], now, newest=3)
    tails.begin(topics[1], now)
    fill(kafka, topics[1], range(1))
    found, _ = read(tails, lambda found, _: sum(map(len, found.values())) >= 7)
    assert sorted(numbers(found[topics[0]])) == [14, 15, 16, 17, 18, 19]
    assert numbers(found[topics[1]]) == [0]


def test_a_topic_that_is_made_anew_must_be_begun_again_and_disturbs_no_other(
    kafka: Kafka, topics: list[str], tails: TopicTails
) -> None:
    one, other = topics
    fill(kafka, one, range(20))
    for topic in topics:
        tails.begin(topic, 0)
    read(tails, lambda found, _: len(found.get(one, ())) >= 20)
    admin = KafkaAdmin(kafka)
    admin.delete_topics([one])
    read(tails, lambda _, failed: one in failed)
    admin.ensure_topics([TopicSettings(one, partitions=2)])
    fill(kafka, one, range(4))
    read(tails, lambda *_: not tails.reads(one))
    tails.begin(one, 0)
    fill(kafka, other, range(5))
    found, _ = read(tails, lambda found, _: len(found.get(one, ())) >= 4 and len(found.get(other, ())) >= 5)
    assert sorted(numbers(found[one])) == list(range(4))


def test_a_topic_that_is_not_there_is_told_at_once(tails: TopicTails, unique: Callable[[str], str]) -> None:
    with pytest.raises(Unavailable, match="no such topic"):
        tails.begin(unique("absent"), 0, timeout=5.0)
    assert tails.read(10) == ({}, {})


def test_a_broker_that_is_not_there_is_told(unique: Callable[[str], str]) -> None:
    nobody = TopicTails(Kafka(bootstrap=f"127.0.0.1:{free_ports(1)[0]}"), group=unique("group"))
    with pytest.raises(Unavailable, match="no broker answers"):
        nobody.begin("clicks", 0, timeout=0.5)
    nobody.close()
