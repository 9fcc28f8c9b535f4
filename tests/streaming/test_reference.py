"""The join against a plain reference, over random orders of events: fifty examples to one job, spaced in event time."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
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


keys = st.integers(0, KEYS - 1)
impressions = st.builds(Event, click=st.just(False), key=keys, time=st.sampled_from([0.0, 0.001, 0.5, 1.0]))
clicks = st.builds(Event, click=st.just(True), key=keys, time=st.sampled_from(TIMES))
events = st.lists(st.one_of(impressions, clicks), min_size=1, max_size=24)


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


def drawn() -> list[list[Event]]:
    """Examples as hypothesis draws them; it shrinks nothing here, for each would cost a job."""
    found: list[list[Event]] = []

    @seed(5)
    @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(events)
    def collect(example: list[Event]) -> None:
        found.append(example)

    collect()
    return found


def test_random_orders_end_as_the_reference_says(stream: Stream) -> None:
    examples = drawn()
    assert len(examples) == EXAMPLES
    for number, example in enumerate(examples):
        begin = number * SPACING_S
        # Every other time all clicks are there before the first impression, and wait for it together.
        parts = [[event for event in example if event.click is click] for click in (True, False)]
        for part, events in enumerate(parts if number % 2 else [example]):
            for event in events:
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
