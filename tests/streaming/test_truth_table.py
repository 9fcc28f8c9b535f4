"""Every way in which an impression and its feedback can meet, on real Flink and Kafka, in one job."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from infra.clock import SystemClock
from infra.local.flink_cluster import FlinkCluster
from infra.local.jars import flink_kafka_connector
from infra.local.kafka_server import KafkaServer
from streaming import sql, topics
from streaming.flink_rest import FlinkRest
from streaming.submit import submit
from tests.streaming.events import Stream
from tests.streaming.pipelines import pipeline

WINDOW, CORRECTION, SKEW = 5, 15, 1
JOIN = {
    "window": f"{WINDOW}s",
    "correction_window": f"{CORRECTION}s",
    "skew": f"{SKEW}s",
    "out_of_orderness": "1s",
    "idle_timeout": "1s",
}
# Event time, in seconds after the base, when the events of each phase arrive.
PHASES = (None, 3.0, 9.0, 12.0)
AGE_MS = 3_600_000
FUTURE_S = 2 * AGE_MS / 1000


@dataclass(frozen=True)
class Feedback:
    """When clicks happen and arrive, and what becomes of them.

    Args:
        clicks: Pairs of the phase of arrival and the event time.
        on_time: Outcomes with an impression at 0 s that comes at once: (sample id's end, kind, label, known), or
            (reason, time) for what is late.
        lone: Event times that end as orphans where there is no impression to meet.
    """

    clicks: tuple[tuple[int, float], ...]
    on_time: tuple[tuple[Any, ...], ...]
    lone: tuple[float, ...]


TIMEOUT = ("#click.0", "timeout", 0, float(WINDOW))


def click(known: float) -> tuple[Any, ...]:
    return ("#click.0", "click", 1, known)


def correction(known: float) -> tuple[Any, ...]:
    return ("#click.1", "correction", 1, known)


def orphan(seconds: float) -> tuple[Any, ...]:
    return ("orphan", None, seconds)


FEEDBACK = {
    "none": Feedback((), (TIMEOUT,), ()),
    "early": Feedback(((0, 2.0),), (click(2.0),), (2.0,)),
    "edge": Feedback(((0, 5.0),), (click(5.0),), (5.0,)),
    "after_by_1_ms": Feedback(((0, 5.001),), (TIMEOUT, correction(5.001)), (5.001,)),
    "corrects": Feedback(((3, 12.5),), (TIMEOUT, correction(12.5)), (12.5,)),
    "corrects_at_the_edge": Feedback(((3, 15.0),), (TIMEOUT, correction(15.0)), (15.0,)),
    "beyond": Feedback(((3, 15.001),), (TIMEOUT, orphan(15.001)), (15.001,)),
    "before_within_skew": Feedback(((0, -1.0),), (click(-1.0),), (-1.0,)),
    "before_beyond_skew": Feedback(((0, -1.001),), (TIMEOUT, orphan(-1.001)), (-1.001,)),
    "before_beyond_skew_and_early": Feedback(((0, -1.5), (0, 2.0)), (orphan(-1.5), click(2.0)), (-1.5, 2.0)),
    "sent_twice": Feedback(((0, 2.0), (0, 2.0), (2, 2.0)), (click(2.0),), (2.0,)),
    # One after the other: of two that wait for their impression together, either may decide (see docs/LOG.md).
    "twice": Feedback(((0, 1.0), (1, 2.0)), (click(1.0),), (1.0, 2.0)),
    "early_and_after": Feedback(((0, 2.0), (2, 8.5)), (click(2.0),), (2.0, 8.5)),
    "two_after": Feedback(((2, 8.5), (3, 12.5)), (TIMEOUT, correction(8.5)), (8.5, 12.5)),
    "late_window_open": Feedback(((1, 1.0),), (click(1.0),), (1.0,)),
    "late_window_closed": Feedback(((2, 2.0),), (TIMEOUT, correction(2.0)), (2.0,)),
}


@pytest.fixture(scope="module")
def stream(local_kafka: KafkaServer, local_flink: FlinkCluster) -> Iterator[Stream]:
    """A running join whose event time only the tests move."""
    clock = SystemClock()
    name = f"truth-{clock.now_ms() % 1_000_000_000}"
    spec = pipeline(
        name,
        kafka={"bootstrap": local_kafka.bootstrap},
        join=JOIN,
        flink={"rest": local_flink.rest, "checkpoint_interval": "2s"},
        probe={"weight": 0.25},
    )
    found = Stream(spec, clock.now_ms() - AGE_MS)
    with FlinkRest(local_flink.rest) as cluster:
        job = submit(sql.plan(spec), cluster, flink_kafka_connector(), clock=clock)
        try:
            yield found
        finally:
            cluster.cancel(job)
            found.close()


@pytest.fixture(scope="module")
def outcomes(stream: Stream) -> Stream:
    """The table's events, sent phase by phase, and everything that came of them."""
    for phase, watermark in enumerate(PHASES):
        if watermark is not None:
            stream.advance(watermark)
        for name, feedback in FEEDBACK.items():
            for impression in ("on_time", "duplicated", "late", "future", "missing"):
                key = f"{impression}/{name}"
                if phase == 0 and impression in {"on_time", "duplicated"}:
                    stream.impression(key, 0.0, item=name)
                if phase in {0, 2} and impression == "duplicated":
                    stream.impression(key, 0.0, item="a repeat")
                if phase == 2 and impression == "late":
                    stream.impression(key, 0.0)
                if phase == 0 and impression == "future":
                    stream.impression(key, FUTURE_S)
                for arrives, seconds in feedback.clicks:
                    if arrives == phase:
                        stream.click(key, seconds)
        if phase == 1:
            stream.impression("behind but open", 1.5)
            stream.click("behind but open", 4.0)
            stream.impression("click came first", 0.5)
        if phase == 0:
            stream.click("click came first", 1.0)
            stream.click("future click", FUTURE_S)
            stream.impression("__probe-7", 0.0)
            stream.impression("weighted", 0.0, w=2.5, item='ü"\\\n', place=2**60, price=0.1, mobile=True)
            stream.impression("lists", 0.0, tags=["a", "b"], counts=[1, 2**60])
            stream.impression("mistyped", 0.0, w="much", item=7, place="x", price="NaN", tags="a", counts=["x"])
        stream.producer.flush()
    stream.advance(60.0)
    stream.advance(61.0)
    return stream


def of(stream: Stream, key: str) -> list[tuple[Any, ...]]:
    """What became of ``key``, as in the table."""
    found: list[tuple[Any, ...]] = []
    for sample in stream.samples:
        own, end, rest = sample["sample_id"].rpartition("#")
        if own == key:
            found.append((end + rest, sample["kind"], sample["label_click"], stream.seconds(sample["known_ts"])))
    found += [
        (row["reason"], stream.seconds(row["impression_ts"]), stream.seconds(row["feedback_ts"]))
        for row in stream.late
        if row["key"] == key
    ]
    return sorted(found, key=str)


def dead(stream: Stream, key: str) -> list[str]:
    """The reasons of the dead letters that hold ``key``."""
    bodies = [(row["reason"], base64.b64decode(row["body"] or "")) for row in stream.dead]
    return [reason for reason, body in bodies if orjson.dumps(key) in body]


@pytest.mark.parametrize("name", FEEDBACK)
@pytest.mark.parametrize("impression", ["on_time", "duplicated"])
def test_an_impression_on_time(outcomes: Stream, impression: str, name: str) -> None:
    assert of(outcomes, f"{impression}/{name}") == sorted(FEEDBACK[name].on_time, key=str)


@pytest.mark.parametrize("name", FEEDBACK)
@pytest.mark.parametrize("impression", ["late", "future", "missing"])
def test_an_impression_that_cannot_be_joined(outcomes: Stream, impression: str, name: str) -> None:
    wanted = [orphan(seconds) for seconds in FEEDBACK[name].lone]
    if impression == "late":
        wanted.append(("late_impression", 0.0, None))
    key = f"{impression}/{name}"
    assert of(outcomes, key) == sorted(wanted, key=str)
    assert dead(outcomes, key) == (["future"] if impression == "future" else [])


def test_the_first_copy_of_a_repeated_impression_is_kept(outcomes: Stream) -> None:
    items = {row["item"] for row in outcomes.samples if row["sample_id"].startswith("duplicated/")}
    assert items == set(FEEDBACK)


def test_an_impression_behind_event_time_whose_window_is_open_is_joined(outcomes: Stream) -> None:
    assert of(outcomes, "behind but open") == [click(4.0)]


def test_a_click_that_ended_before_its_impression_came_stays_an_orphan(outcomes: Stream) -> None:
    assert of(outcomes, "click came first") == sorted([orphan(1.0), ("#click.0", "timeout", 0, 5.5)], key=str)


def test_a_click_from_the_future_is_a_dead_letter(outcomes: Stream) -> None:
    assert of(outcomes, "future click") == []
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
