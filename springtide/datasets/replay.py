"""Replays a log onto two topics in compressed time; knows events and a producer, not who listens."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from infra.clock import Clock, iso
from infra.spec import Events, Topic
from springtide.datasets.event import Event

# The replay sleeps at least this long, so that it does not spin between two events.
SLICE_SECONDS = 0.005
UNIT = {"s": 1 / 1000, "ms": 1, "us": 1000}


class EventProducer(Protocol):
    """What the replay needs of a Kafka producer."""

    def send(self, topic: str, value: bytes, *, key: bytes) -> None: ...

    def flush(self) -> None: ...


@dataclass(slots=True)
class Sent:
    """How many events have been sent so far."""

    impressions: int = 0
    clicks: int = 0


class Replay:
    """Sends impressions when their time has come and each click its delay later.

    The log's clock is mapped onto the wall clock, ``t' = start + (t - t0) / speed``, and windows with it. An event is
    stamped with the moment it is sent, so that a machine that falls behind sends a slower log, not a late one.

    Args:
        events: Topics, keys and times as the pipeline names them.
        window_ms: The join window, milliseconds of the wall clock.
        producer: Where events go.
        clock: The wall clock.
    """

    def __init__(self, events: Events, window_ms: int, producer: EventProducer, clock: Clock) -> None:
        self._impressions = events.impressions
        self._feedback = events.feedback[0]
        self._window_ms = window_ms
        self._producer = producer
        self._clock = clock
        self._clicks: list[tuple[float, str]] = []
        self.sent = Sent()

    def run(
        self,
        log: Iterable[Event],
        *,
        speed: float,
        stop: threading.Event,
        progress: Callable[[Sent], None] = lambda sent: None,
    ) -> Sent:
        """Sends the whole log and returns when the last click is out, or when ``stop`` is set.

        Args:
            log: Events in time order.
            speed: Milliseconds of the log's clock in one of the wall clock.
            stop: Ends the replay early.
            progress: Called after every slice of time with the counts so far.
        """
        start_ms = self._clock.now_ms()
        first_ms: int | None = None
        for event in log:
            first_ms = event.time_ms if first_ms is None else first_ms
            due_ms = start_ms + (event.time_ms - first_ms) / speed
            if not self._wait_until(due_ms, stop, progress):
                break
            now = self._clock.now_ms()
            self._send(self._impressions, event.key, now, event.fields)
            self.sent.impressions += 1
            if event.click_after is not None:
                heapq.heappush(self._clicks, (now + event.click_after * self._window_ms, event.key))
        while self._clicks and self._wait_until(self._clicks[0][0], stop, progress):
            self._send_due_clicks()
        self._producer.flush()
        progress(self.sent)
        return self.sent

    def _wait_until(self, due_ms: float, stop: threading.Event, progress: Callable[[Sent], None]) -> bool:
        while not stop.is_set():
            self._send_due_clicks()
            ahead = due_ms - self._clock.now_ms()
            if ahead <= 0:
                return True
            progress(self.sent)
            next_click = self._clicks[0][0] - self._clock.now_ms() if self._clicks else ahead
            self._clock.wait(stop, max(min(ahead, next_click) / 1000, SLICE_SECONDS))
        return False

    def _send_due_clicks(self) -> None:
        while self._clicks and self._clicks[0][0] <= (now := self._clock.now_ms()):
            _, key = heapq.heappop(self._clicks)
            self._send(self._feedback, key, now, {})
            self.sent.clicks += 1

    def _send(self, topic: Topic, key: str, time_ms: int, fields: Mapping[str, object]) -> None:
        body = orjson.dumps(event_body(topic, key, time_ms, fields))
        self._producer.send(topic.topic, body, key=key.encode())


def event_body(topic: Topic, key: str, time_ms: int, fields: Mapping[str, object]) -> dict[str, Any]:
    """One event as a user's server would write it: key and time under the names that the pipeline gives."""
    time = iso(time_ms) if topic.time_unit == "iso8601" else round(time_ms * UNIT[topic.time_unit])
    return {**fields, topic.key: key, topic.time: time}
