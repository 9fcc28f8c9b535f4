"""The join against a plain reference, over random orders of events: fifty examples to one job, spaced in event time.

Where event time runs ahead of events, which of them are late is a matter of moments; that each ends once is not.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming import sample
from streaming.planner import Planner
from tests.streaming.events import MARK, Stream
from tests.streaming.running import running_join
from tests.streaming.truth import CORRECTION, JOIN, SKEW, WINDOW

pytestmark = pytest.mark.long

EXAMPLES = 50
KEYS = 4
# Longer than everything that one example waits for.
SPACING_S = 60.0
# Half steps and the milliseconds around the windows' edges: where an inequality could be the wrong one.
EDGES = [-SKEW, 0, WINDOW, CORRECTION]
TIMES = sorted({edge + step / 1000 for edge in EDGES for step in (-1, 0, 1)} | {step / 2 for step in range(-3, 34)})


@dataclass(frozen=True)
class Event:
    """One event of an example, in the order of arrival.

    Args:
        click: Whether it is a click, or an impression.
        key: Number of its key.
        time: Event time in seconds after the example's begin.
    """

    click: bool
    key: int
    time: float


Drawn = TypeVar("Drawn")
keys = st.integers(0, KEYS - 1)
impressions = st.builds(Event, click=st.just(False), key=keys, time=st.sampled_from([0.0, 0.001, 0.5, 1.0]))
clicks = st.builds(Event, click=st.just(True), key=keys, time=st.sampled_from(TIMES))
events = st.lists(st.one_of(impressions, clicks), min_size=1, max_size=24)
# Event time in seconds after the example's begin, as heartbeats and events of others move it: ahead of some events.
beats = st.sampled_from([1.0, 5.5, 9.0, 13.0, 16.5, 22.0])
hurried = st.lists(st.one_of(impressions, clicks, clicks, beats), min_size=4, max_size=30)


def reference(example: list[Event]) -> Counter[tuple[Any, ...]]:
    """What the documents promise where nothing is behind the watermark: per key, in the order of arrival."""
    found: Counter[tuple[Any, ...]] = Counter()
    for key in range(KEYS):
        shown = [event.time for event in example if event.key == key and not event.click]
        clicks = [event.time for event in example if event.key == key and event.click]
        begin = shown[0] if shown else None
        found.update((key, "repeat", time, None) for time in shown[1:])
        fitting = [time for time in clicks if begin is not None and begin - SKEW <= time <= begin + CORRECTION]
        orphans = Counter(time for time in clicks if time not in fitting)
        for time, count in orphans.items():
            found[key, "orphan", None, time] = 1
            found[key, "repeat", None, time] += count - 1
        found.update((key, "repeat", begin, time) for time in fitting[1:])
        if begin is None:
            continue
        if fitting and fitting[0] <= begin + WINDOW:
            found[key, "click", 1, fitting[0]] = 1
            continue
        found[key, "timeout", 0, begin + WINDOW] = 1
        if fitting:
            found[key, "correction", 1, fitting[0]] = 1
    return +Counter({(row[0], row[1], *map(_rounded, row[2:])): count for row, count in found.items()})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


@pytest.fixture(scope="module")
def stream(local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner) -> Iterator[Stream]:
    # Nothing of an example is behind the watermark, which only the tests move.
    join = {**JOIN, "out_of_orderness": "40s"}
    with running_join(local_kafka, local_flink, planner, "reference", join=join) as found:
        yield found


def drawn(examples: st.SearchStrategy[list[Drawn]]) -> list[list[Drawn]]:
    """Examples as hypothesis draws them; it shrinks nothing here, for each would cost a job."""
    found: list[list[Drawn]] = []

    @seed(5)
    @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(examples)
    def collect(example: list[Drawn]) -> None:
        found.append(example)

    collect()
    assert len(found) == EXAMPLES
    return found


def test_random_orders_end_as_the_reference_says(stream: Stream) -> None:
    examples = drawn(events)
    for number, example in enumerate(examples):
        begin = number * SPACING_S
        # Every other time all clicks are there before the first impression, and wait for it together.
        parts = [[event for event in example if event.click is click] for click in (True, False)]
        for part, some in enumerate(parts if number % 2 else [example]):
            for event in some:
                send = stream.click if event.click else stream.impression
                send(f"{number}/{event.key}", begin + event.time)
            stream.await_read(f"{MARK}{number}-{part}", begin)
        stream.advance(begin + CORRECTION + WINDOW)
    stream.advance(EXAMPLES * SPACING_S)
    stream.advance(EXAMPLES * SPACING_S + 1)

    found: dict[int, Counter[tuple[Any, ...]]] = {number: Counter() for number in range(EXAMPLES)}

    def add(key: str, *row: Any) -> None:
        number, slash, rest = key.partition("/")
        if slash:
            begin = int(number) * SPACING_S
            kind, *values = row
            times = [None if value is None else round(value - begin, 3) for value in values[-1:]]
            found[int(number)][(int(rest), kind, *values[:-1], *times)] += 1

    for row in stream.samples:
        add(row["sample_id"].rpartition("#")[0], row["kind"], row["label_click"], stream.seconds(row["known_ts"]))
    for row in stream.late:
        number, slash, _ = row["key"].partition("/")
        shown = stream.seconds(row["impression_ts"])
        if slash and shown is not None:
            shown = round(shown - int(number) * SPACING_S, 3)
        add(row["key"], row["reason"], shown, stream.seconds(row["feedback_ts"]))
    wrong = {
        number: (example, found[number] - reference(example), reference(example) - found[number])
        for number, example in enumerate(examples)
        if found[number] != reference(example)
    }
    assert wrong == {}
    kinds = Counter(row[1] for each in found.values() for row in each.elements())
    assert set(kinds) == {"click", "timeout", "correction", "orphan", "repeat"} and min(kinds.values()) > 10, kinds


@dataclass(frozen=True)
class Ended:
    """What was sent of one key, and what became of it.

    Args:
        shown: Impressions.
        clicks: Times of the clicks.
        verdicts: Verdicts and what was told of impressions.
        answers: Times of the clicks that became a sample, or of which something was told.
        kinds: Kinds of samples and reasons.
        positives: Positive samples.
    """

    shown: int
    clicks: Counter[float]
    verdicts: int
    answers: Counter[float]
    kinds: Counter[str]
    positives: int


@pytest.fixture(scope="module")
def hasty(local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner) -> Iterator[dict[str, Ended]]:
    """By key, what became of events of which many come behind event time."""
    with running_join(local_kafka, local_flink, planner, "hasty") as stream:
        yield {key: outcome(stream, key, sent) for key, sent in send_hurried(stream).items()}


def send_hurried(stream: Stream) -> dict[str, list[Event]]:
    """Sends the examples; returns what was sent, by key, when everything has its outcome."""
    sent: dict[str, list[Event]] = {}
    for number, example in enumerate(drawn(hurried)):
        begin = number * SPACING_S
        for place, step in enumerate(example):
            if isinstance(step, Event):
                key, now = f"{number}/{step.key}", [step]
            else:
                # A topic's own events hold its time back, unless it counts as idle.
                key, now = f"{number}/ahead {place}", [Event(click, KEYS, step) for click in (False, True)]
                stream.heartbeat(begin + step)
            for event in now:
                sent.setdefault(key, []).append(event)
                (stream.click if event.click else stream.impression)(key, begin + event.time)
            # Not awaited: how far each topic has been read when the next heartbeat comes is left to chance.
            stream.producer.flush()
        stream.advance(begin + CORRECTION + WINDOW)
    stream.advance(EXAMPLES * SPACING_S)
    stream.advance(EXAMPLES * SPACING_S + 1)
    return sent


def outcome(stream: Stream, key: str, sent: list[Event]) -> Ended:
    """What became of one key."""
    begin = int(key.partition("/")[0]) * SPACING_S
    samples = [row for row in stream.samples if row["sample_id"].rpartition("#")[0] == key]
    late = [row for row in stream.late if row["key"] == key]
    positive = [stream.seconds(row["known_ts"]) for row in samples if row["label_click"] == 1]
    told = [stream.seconds(row["feedback_ts"]) for row in late if row["feedback_ts"] is not None]
    verdicts = sum(row["sample_id"].endswith(f".{sample.VERDICT}") for row in samples)
    return Ended(
        shown=sum(not event.click for event in sent),
        clicks=Counter(round(begin + event.time, 3) for event in sent if event.click),
        verdicts=verdicts + len(late) - len(told),
        answers=Counter(time for time in [*positive, *told] if time is not None),
        kinds=Counter([*(row["kind"] for row in samples), *(row["reason"] for row in late)]),
        positives=len(positive),
    )


def test_however_far_event_time_is_each_event_has_an_outcome(hasty: dict[str, Ended]) -> None:
    """One to each impression, one to each click, and none is positive twice."""
    wrong = {
        key: each
        for key, each in hasty.items()
        if each.verdicts != each.shown or each.positives > 1 or each.clicks - each.answers
    }
    assert wrong == {}
    kinds = sum((each.kinds for each in hasty.values()), Counter[str]())
    assert set(kinds) == {"click", "timeout", "correction", "orphan", "repeat", "late_impression"}, kinds
    assert min(kinds.values()) > 3, kinds


def test_no_click_is_told_of_twice(hasty: dict[str, Ended]) -> None:
    """An orphan is not a verdict besides."""
    assert {key: each for key, each in hasty.items() if each.answers - each.clicks} == {}
