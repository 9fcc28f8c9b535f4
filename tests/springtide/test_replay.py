"""The replay keeps order, delays and counts; time is a component here, so no second is waited for."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from operator import itemgetter
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from infra.spec import EventField, Events, Feedback, Impressions
from springtide.datasets.event import Event
from springtide.datasets.replay import Replay

WINDOW_MS = 2000
EVENTS = Events(
    impressions=Impressions(topic="shown", key="id", time="ts", time_unit="ms", fields=(EventField(name="item"),)),
    feedback=(Feedback(name="click", topic="clicked", key="id", time="at", time_unit="ms"),),
)


class SteppingClock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.ms = 1_000_000.0

    def now_ms(self) -> int:
        return int(self.ms)

    def monotonic(self) -> float:
        return self.ms / 1000

    def sleep(self, seconds: float) -> None:
        self.ms += seconds * 1000

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.sleep(seconds)
        return event.is_set()


class Recorder:
    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any], bytes]] = []

    def send(self, topic: str, value: bytes, *, key: bytes) -> None:
        self.records.append((topic, orjson.loads(value), key))

    def flush(self) -> None:
        pass


logs = st.lists(st.tuples(st.integers(0, 100_000), st.none() | st.floats(0, 3)), max_size=30).map(
    lambda rows: [Event(t, f"k{i}", {"item": "x"}, c) for i, (t, c) in enumerate(sorted(rows, key=itemgetter(0)))]
)


@given(logs, st.sampled_from([1.0, 10.0, 1000.0]))
def test_every_event_is_sent_once_in_order_and_no_click_before_its_delay(log: list[Event], speed: float) -> None:
    producer, clock = Recorder(), SteppingClock()
    sent = Replay(EVENTS, WINDOW_MS, producer, clock).run(log, speed=speed, stop=threading.Event())

    shown = {body["id"]: body["ts"] for topic, body, _ in producer.records if topic == "shown"}
    clicked = {body["id"]: body["at"] for topic, body, _ in producer.records if topic == "clicked"}
    assert list(shown) == [event.key for event in log]
    assert set(clicked) == {event.key for event in log if event.click_after is not None}
    assert (sent.impressions, sent.clicks) == (len(shown), len(clicked))
    for event in log:
        assert abs((shown[event.key] - 1_000_000) - (event.time_ms - log[0].time_ms) / speed) <= 10
        if event.click_after is not None:
            late = clicked[event.key] - shown[event.key] - event.click_after * WINDOW_MS
            assert -1 <= late <= 10
    times = [body["ts"] if "ts" in body else body["at"] for _, body, _ in producer.records]
    assert times == sorted(times)
    assert all(key == body["id"].encode() for _, body, key in producer.records)


def test_a_set_stop_ends_the_replay_at_once() -> None:
    producer, stop = Recorder(), threading.Event()
    stop.set()
    sent = Replay(EVENTS, WINDOW_MS, producer, SteppingClock()).run([Event(0, "a", {}, 0.1)], speed=1.0, stop=stop)
    assert sent.impressions == 0
    assert producer.records == []
