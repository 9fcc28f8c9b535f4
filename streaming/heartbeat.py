"""Moves event time on while no events arrive; must not know the join behind it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Final, Self

import orjson

from infra.clock import Clock, iso
from infra.errors import SpringtideError, Unavailable
from infra.kafka import Delivery, Producer
from infra.logs import logger
from infra.metrics import Metrics
from streaming.topics import HEARTBEAT_KEY

_log = logger()

_LEAVE_S: Final = 5.0
# A heartbeat on its way for longer tells of an outage, which keeps events back, too.
_AWAY_MS: Final = 2000
# By then every producer has tried again: Kafka's clients wait 10 s at most between two tries.
BACKLOG_MS: Final = 10_000


def body(now_ms: int) -> bytes:
    """One heartbeat: nothing older than ``now_ms`` less the out-of-orderness is on its way any more."""
    return orjson.dumps({"id": HEARTBEAT_KEY, "ts": iso(now_ms)})


def never(_input: str) -> bool:
    """Holds no heartbeat back."""
    return False


class Heartbeats:
    """Sends a heartbeat to every input in a steady rhythm, from a thread of its own.

    A broker that is away is waited out: the client keeps trying, and what it gives up is logged once per outage. An
    input has at most one heartbeat on its way, and after an outage none follows for ten seconds: with the broker back,
    producers still hold events of before, which a heartbeat in front of them would turn into late ones.

    Args:
        producer: Sends them; its owner closes it.
        inputs: Name of the input, as in the metrics -> topic.
        interval: Seconds between two.
        clock: Gives event time, and the rhythm.
        metrics: Counts them.
        held: Whether an input's heartbeat is to be held back now: its topic is silent though it should not be.
    """

    def __init__(
        self,
        producer: Producer,
        inputs: Mapping[str, str],
        *,
        interval: float,
        clock: Clock,
        metrics: Metrics,
        held: Callable[[str], bool] = never,
    ) -> None:
        self._producer = producer
        self._inputs = dict(inputs)
        self._interval = interval
        self._clock = clock
        self._metrics = metrics
        self._held = held
        self._leave = threading.Event()
        self._lock = threading.Lock()
        self._sent = dict.fromkeys(self._inputs, 0)
        self._on_its_way: set[str] = set()
        self._quiet_until_ms = 0
        self._failure: SpringtideError | None = None
        self._away = False
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)

    def start(self) -> None:
        """Begins; the first ones are sent at once."""
        self._thread.start()

    def close(self) -> None:
        """Ends; safe to call twice, and before :meth:`start`."""
        self._leave.set()
        if self._thread.is_alive():
            self._thread.join(_LEAVE_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def delivered(self) -> dict[str, int]:
        """Input -> heartbeats that a broker has confirmed."""
        with self._lock:
            return dict(self._sent)

    def raise_failure(self) -> None:
        """Raises what ended the thread: an error that waiting cannot cure."""
        with self._lock:
            if self._failure is not None:
                raise self._failure

    def _run(self) -> None:
        while True:
            try:
                self._beat()
            except Unavailable as error:
                self._went_away(error)
            except SpringtideError as error:
                with self._lock:
                    self._failure = error
                return
            if self._clock.wait(self._leave, self._interval):
                return

    def _beat(self) -> None:
        self._producer.poll()
        now_ms = self._clock.now_ms()
        for name, topic in self._inputs.items():
            with self._lock:
                wanted = name not in self._on_its_way and now_ms >= self._quiet_until_ms
            if wanted and not self._held(name):
                with self._lock:
                    self._on_its_way.add(name)
                self._producer.send(topic, body(now_ms), delivered=partial(self._confirm, name, now_ms))

    def _confirm(self, name: str, sent_ms: int, delivery: Delivery) -> None:
        now_ms = self._clock.now_ms()
        with self._lock:
            self._sent[name] += 1
            self._on_its_way.discard(name)
            back, self._away = self._away, False
            if now_ms - sent_ms > _AWAY_MS:
                self._quiet_until_ms = now_ms + BACKLOG_MS
        if back:
            _log.info("heartbeats_resumed")
        self._metrics.inc("springtide_join_heartbeats_total", input=name)
        self._metrics.set("springtide_join_last_heartbeat_timestamp_seconds", delivery.timestamp_ms / 1000, input=name)

    def _went_away(self, error: Unavailable) -> None:
        self._metrics.inc("springtide_unavailable_total", dependency="kafka")
        with self._lock:
            self._on_its_way.clear()  # which one was given up is not said
            known, self._away = self._away, True
        if not known:
            _log.warning("heartbeats_not_delivered", error=error)
