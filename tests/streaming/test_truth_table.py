"""Every way in which an impression and its feedback can meet, on real Flink and Kafka, in one job."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming import topics
from streaming.planner import Planner
from tests.streaming.events import Stream
from tests.streaming.fuzz import fuzz_both_topics
from tests.streaming.running import running_join
from tests.streaming.truth import (
    FEEDBACK,
    FUTURE_S,
    IMPRESSIONS,
    click,
    dead,
    of,
    orphan,
    send,
    wanted,
)


@pytest.fixture(scope="module")
def stream(local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner) -> Iterator[Stream]:
    """A running join whose event time only the tests move."""
    with running_join(local_kafka, local_flink, planner, "truth", probe={"weight": 0.25}) as found:
        yield found


@pytest.fixture(scope="module")
def outcomes(stream: Stream) -> Stream:
    """The table's events and some of other kinds, and everything that came of them."""
    stream.click("future click", FUTURE_S)
    stream.impression("__probe-7", 0.0)
    stream.impression("weighted", 0.0, w=2.5, item='ü"\\\n', place=2**60, price=0.1, mobile=True)
    stream.impression("lists", 0.0, tags=["a", "b"], counts=[1, 2**60])
    stream.impression("mistyped", 0.0, w="much", item=7, place="x", price="NaN", tags="a", counts=["x"])
    send(stream)
    return stream


@pytest.mark.parametrize("name", FEEDBACK)
@pytest.mark.parametrize("impression", IMPRESSIONS)
def test_each_combination_gives_what_the_table_says(outcomes: Stream, impression: str, name: str) -> None:
    key = f"{impression}/{name}"
    assert of(outcomes, key) == wanted(impression, name)
    assert dead(outcomes, key) == (["future"] if impression == "future" else [])


def test_the_first_copy_of_a_repeated_impression_is_kept(outcomes: Stream) -> None:
    items = {row["item"] for row in outcomes.samples if row["sample_id"].startswith("duplicated/")}
    assert items == set(FEEDBACK)


def test_an_impression_behind_event_time_whose_window_is_open_is_joined(outcomes: Stream) -> None:
    assert of(outcomes, "behind but open") == Counter([click(4.0)])


def test_of_clicks_that_wait_for_their_impression_the_first_that_fits_decides(outcomes: Stream) -> None:
    assert of(outcomes, "two wait") == Counter([click(4.0), ("repeat", 1.5, 4.5)])
    assert of(outcomes, "two wait in reverse") == Counter([click(4.5), ("repeat", 1.5, 4.0)])
    assert of(outcomes, "three wait") == Counter([click(4.0), orphan(0.2), ("repeat", 1.5, 14.0)])


@pytest.mark.parametrize("key", ["click came first", "both behind", "both behind, the click first"])
def test_a_click_waits_for_an_impression_behind_event_time_whose_window_is_open(outcomes: Stream, key: str) -> None:
    """Event time has passed the click by more than the skew when they come, in whatever order."""
    assert of(outcomes, key) == Counter([click(1.0)])


def test_what_was_late_or_repeated_says_where_it_stands(outcomes: Stream) -> None:
    places = {(row["topic"], row["partition"], row["offset"]) for row in outcomes.late}
    assert len(places) == len(outcomes.late)
    assert {(topic, partition) for topic, partition, _ in places} == {
        (topic, 0) for topic in topics.user_topics(outcomes.pipeline)
    }


def test_a_click_from_the_future_is_a_dead_letter(outcomes: Stream) -> None:
    assert of(outcomes, "future click") == Counter()
    assert dead(outcomes, "future click") == ["future"]


def test_kafka_keys_are_join_keys(outcomes: Stream) -> None:
    ids = [sample["sample_id"].rpartition("#")[0] for sample in outcomes.samples]
    assert [key.decode() for key in outcomes.sample_keys if key is not None] == ids


def test_columns_are_those_of_the_contract(outcomes: Stream) -> None:
    rows = {row["sample_id"].rpartition("#")[0]: row for row in outcomes.samples}
    assert set(rows["weighted"]) == set(columns(outcomes))
    assert {key: rows["weighted"][key] for key in ("item", "place", "price", "mobile", "tags", "weight")} == {
        "item": 'ü"\\\n',
        "place": 2**60,
        "price": 0.1,
        "mobile": True,
        "tags": None,
        "weight": 2.5,
    }
    assert (rows["lists"]["tags"], rows["lists"]["counts"]) == (["a", "b"], [1, 2**60])
    assert (rows["lists"]["weight"], rows["lists"]["down_sampling_rate"]) == (1, 1)
    assert rows["__probe-7"]["weight"] == 0.25
    assert outcomes.seconds(rows["lists"]["impression_ts"]) == 0.0


def columns(stream: Stream) -> list[str]:
    from streaming import sample

    return [column.name for column in sample.columns(stream.pipeline.events)]


def test_an_attribute_of_another_type_reads_null(outcomes: Stream) -> None:
    row = next(row for row in outcomes.samples if row["sample_id"] == "mistyped#click.0")
    assert {name: row[name] for name in ("item", "place", "price", "tags", "counts", "weight")} == {
        "item": "7",
        "place": None,
        "price": None,
        "tags": None,
        "counts": [None],
        "weight": 1,
    }


BAD: dict[str, list[bytes | None]] = {
    "malformed": [
        None,
        b"",
        b"not json",
        b'{"id": "x", "ts"',
        b"17",
        b"null",
        b'"text"',
        b'{"id": "\xff\xfe", "ts": "2026-01-01T00:00:00Z"}',
        b"\x00\x01\x02",
    ],
    "no_key": [
        b"{}",
        b'{"ts": "2026-01-01T00:00:00Z"}',
        b'{"id": null, "ts": "2026-01-01T00:00:00Z"}',
        b'{"id": "", "ts": "2026-01-01T00:00:00Z"}',
        b'{"id": "__hb", "ts": "2026-01-01T00:00:00Z"}',
    ],
    "no_time": [
        b'{"id": "t"}',
        b'{"id": "t", "ts": null}',
        b'{"id": "t", "ts": "yesterday"}',
        b'{"id": "t", "ts": 1767225600}',
        b'{"id": "t", "ts": "2026-02-32T00:00:00Z"}',
        b'{"id": "t", "ts": "2026-13-01T00:00:00Z"}',
        b'{"id": "t", "ts": "2026-01-01T25:00:00Z"}',
        b'{"id": "t", "ts": "2026-01-01T00:00:00"}',
        b'{"id": "t", "ts": "2026-01-01T00:00:00+02:00"}',
        b'{"id": "t", "ts": "0001-01-01T00:00:00Z"}',
        b'{"id": "t", "ts": {"a": 1}}',
    ],
    "future": [b'{"id": "t", "ts": "2099-01-01T00:00:00Z"}'],
}


@pytest.mark.parametrize("topic", [0, 1])
def test_what_is_no_event_is_kept_with_its_place_and_its_bytes(outcomes: Stream, topic: int) -> None:
    name = topics.user_topics(outcomes.pipeline)[topic]
    before = {(row["topic"], row["offset"]) for row in outcomes.dead}
    sent = [(reason, body) for reason, bodies in BAD.items() for body in bodies]
    for _, body in sent:
        outcomes.raw(topic, body)
    outcomes.producer.flush()

    def new() -> list[dict[str, Any]]:
        return [row for row in outcomes.dead if (row["topic"], row["offset"]) not in before]

    outcomes.until(lambda: len(new()) >= len(sent), f"{len(sent)} dead letters")
    rows = sorted(new(), key=lambda row: int(row["offset"]))
    found = [(row["reason"], None if row["body"] is None else base64.b64decode(row["body"])) for row in rows]
    assert found == sent
    assert {(row["topic"], row["partition"]) for row in rows} == {(name, 0)}
    assert not {"t", "x"} & {row["key"] for row in outcomes.late}


# Read by some, refused by others; what matters is that both readers of a topic come to the same verdict.
ODD_TIMES = [
    "2026-02-30T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T24:00:01Z",
    "2026-01-01T00:00Z",
    "2026-01-01t00:00:00Z",
    "2026-01-01T00:00:00z",
    "2026-01-01T00:00:00.123456789Z",
    "2026-01-01T00:00:00.1234567891Z",
    "2026-01-01 00:00:00Z",
    "2026-01-01T00Z",
    "2026-01-01",
    "1969-12-31T23:59:59.999Z",
    "1970-01-01T00:00:00.000Z",
    "+12026-01-01T00:00:00Z",
    "-2026-01-01T00:00:00Z",
    "2026-06-31T12:00:00Z",
    " 2026-01-01T00:00:00Z",
    "",
]


def test_each_of_many_spoilt_events_is_joined_or_a_dead_letter_never_both_never_neither(outcomes: Stream) -> None:
    """One byte of each event is changed; whatever that made of it, it is found again exactly once."""
    seed = random.Random(7)
    sent: dict[str, bytes] = {}
    for number in range(400):
        key = f"spoilt-{number:04}"
        whole = orjson.dumps({"item": "a b", "id": key, "ts": outcomes.time(200), "place": 3, "tags": ["x", {"y": []}]})
        body = bytearray(whole)
        place = seed.choice([at for at in range(len(body)) if not _in_key(whole, key, at)])
        body[place] = seed.randrange(256)
        sent[key] = bytes(body)
        outcomes.raw(0, bytes(body))
    for number, text in enumerate(ODD_TIMES):
        sent[f"odd-{number:02}"] = orjson.dumps({"id": f"odd-{number:02}", "ts": text})
        outcomes.raw(0, sent[f"odd-{number:02}"])
    outcomes.producer.flush()
    outcomes.advance(199.0)
    outcomes.advance(300.0)
    outcomes.advance(301.0)

    def ends() -> dict[str, tuple[bool, bool]]:
        joined = {row["sample_id"].rpartition("#")[0] for row in outcomes.samples}
        joined |= {row["key"] for row in outcomes.late if row["reason"] == "late_impression"}
        bodies = {base64.b64decode(row["body"]) for row in outcomes.dead if row["body"] is not None}
        return {key: (key in joined, body in bodies) for key, body in sent.items()}

    outcomes.until(lambda: all(map(any, ends().values())), "an end for each")
    wrong = {key: (end, sent[key]) for key, end in ends().items() if all(end)}
    assert wrong == {}
    assert sum(dead for _, dead in ends().values()) > 40
    assert sum(joined for joined, _ in ends().values()) > 40


def _in_key(body: bytes, key: str, place: int) -> bool:
    start = body.index(key.encode())
    return start <= place < start + len(key)


def test_heartbeats_alone_release_the_last_negatives(outcomes: Stream) -> None:
    """Traffic stops: the users' topics become idle, and Springtide's own go on."""
    for number in range(3):
        outcomes.impression(f"last-{number}", 400.0)
    outcomes.producer.flush()
    wanted = {f"last-{number}#click.0" for number in range(3)}

    def found() -> set[str]:
        return {row["sample_id"] for row in outcomes.samples} & wanted

    outcomes.heartbeat(404.0)
    outcomes.producer.flush()
    outcomes.collect()
    assert found() == set()
    outcomes.heartbeat(410.0)
    outcomes.producer.flush()
    outcomes.until(lambda: found() == wanted, "the last negatives")
    kinds = {row["kind"] for row in outcomes.samples if row["sample_id"] in wanted}
    assert kinds == {"timeout"}


def test_whatever_bytes_come_to_both_topics_each_message_ends_once(outcomes: Stream) -> None:
    """The account of all that the tests above have sent, too."""
    fuzz_both_topics(outcomes, seed=13, seconds=500.0, fields={"item": "a b", "place": 3, "tags": ["x"]})
