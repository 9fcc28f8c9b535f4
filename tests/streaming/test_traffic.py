"""Traffic as it is: it stops, breaks, leaves partitions empty and comes from clocks that are wrong; one real join."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from infra.clock import new_uuid
from infra.local.stack import LocalStack
from streaming.silence import ENOUGH
from tests.streaming.controlled import CLOCK, READY_S, Running, await_true, bucket
from tests.streaming.events import Stream
from tests.streaming.pipelines import pipeline

pytestmark = pytest.mark.long

WINDOW_S, ORDER_S, SKEW_S = 2.0, 1.0, 1.0
PARTITIONS = 3
# More readers of each topic than partitions.
PARALLELISM = 4


class Traffic:
    """A join under its controller, and the traffic of its tests in wall time."""

    def __init__(self, stream: Stream, running: Running) -> None:
        self.stream = stream
        self.running = running
        self._numbers = itertools.count()

    def now(self) -> float:
        return (CLOCK.now_ms() - self.stream.base_ms) / 1000

    def impressions(self, count: int, *, clicked: bool = False, early_s: float = 0.0) -> set[str]:
        """Impressions now, each clicked at once if at all, by a clock that is ``early_s`` behind; returns the keys."""
        keys = {f"k{next(self._numbers)}" for _ in range(count)}
        moment = self.now()
        for key in keys:
            self.stream.impression(key, moment)
            if clicked:
                self.stream.click(key, moment - early_s)
        self.stream.producer.flush()
        return keys

    def kinds(self, keys: set[str]) -> dict[str, str]:
        """The verdicts that have come of ``keys``."""
        rows = ((row["sample_id"].rpartition("#")[0], row["kind"]) for row in self.stream.samples)
        return {key: kind for key, kind in rows if key in keys}

    def await_kinds(self, keys: set[str], kind: str) -> None:
        self.stream.until(lambda: len(self.kinds(keys)) == len(keys), f"the verdict of {len(keys)} impressions")
        assert set(self.kinds(keys).values()) == {kind}


@pytest.fixture(scope="module")
def traffic(local_stack: LocalStack) -> Iterator[Traffic]:
    spec = pipeline(
        f"traffic-{new_uuid()[:8]}",
        kafka={"bootstrap": local_stack.kafka.bootstrap},
        join={
            "window": f"{WINDOW_S:.0f}s",
            "correction_window": "60s",
            "out_of_orderness": f"{ORDER_S:.0f}s",
            "skew": f"{SKEW_S:.0f}s",
            "idle_timeout": "1s",
        },
        control={"port": 0, "heartbeat_interval": "200ms"},
        flink={"rest": local_stack.flink.rest, "checkpoint_interval": "2s", "parallelism": PARALLELISM},
        store=bucket(local_stack),
    )
    stream = Stream(spec, CLOCK.now_ms(), partitions=PARTITIONS)
    running = Running(spec, stop_job=True)
    try:
        running.await_ready()
        yield Traffic(stream, running)
    finally:
        running.leave()
        stream.close()


def test_more_readers_than_partitions_hold_nothing_back(traffic: Traffic) -> None:
    spec = traffic.stream.pipeline
    assert spec.flink.parallelism > PARTITIONS
    traffic.await_kinds(traffic.impressions(30, clicked=True), "click")
    traffic.await_kinds(traffic.impressions(30), "timeout")


def test_idle_partitions_hold_nothing_back(traffic: Traffic) -> None:
    traffic.stream.partition = 0
    try:
        traffic.await_kinds(traffic.impressions(30), "timeout")
        traffic.await_kinds(traffic.impressions(30, clicked=True), "click")
    finally:
        traffic.stream.partition = None


def test_negatives_leave_when_traffic_stops(traffic: Traffic) -> None:
    """Nothing is sent after them: heartbeats alone move event time on, and soon."""
    keys = traffic.impressions(30)
    begin = CLOCK.monotonic()
    traffic.await_kinds(keys, "timeout")
    assert CLOCK.monotonic() - begin < WINDOW_S + ORDER_S + 10.0


def test_clicks_by_a_clock_that_is_behind_by_the_stated_bound_are_joined(traffic: Traffic) -> None:
    traffic.await_kinds(traffic.impressions(30, clicked=True, early_s=SKEW_S), "click")
    beyond = traffic.impressions(30, clicked=True, early_s=SKEW_S + 0.001)
    traffic.await_kinds(beyond, "timeout")

    def orphans() -> set[str]:
        return {row["key"] for row in traffic.stream.late if row["reason"] == "orphan"}

    traffic.stream.until(lambda: orphans() >= beyond, "an orphan for each of them")


def test_negatives_are_held_when_only_clicks_stop(traffic: Traffic) -> None:
    """By then half of the impressions were clicked. What is held is told by a metric and in the log, and ends with the
    first click; one of those that the broken stream held back still makes its impression a positive."""
    traffic.await_kinds(traffic.impressions(ENOUGH, clicked=True), "click")
    with capture_logs() as logs, flowing(traffic) as sent:
        await_true(lambda: held(traffic) == 1.0, "held", READY_S)
        assert "feedback_silent" in {entry["event"] for entry in logs}
        # What came in between the last click and the count that tells the silence has left; from now on nothing does.
        keys = traffic.impressions(30)
        begin = traffic.now()
        traffic.stream.until(lambda: traffic.now() > begin + WINDOW_S + ORDER_S + 3.0, "a while")
        assert traffic.kinds(keys) == {}
        waiting = min(keys)
        traffic.stream.click(waiting, begin)
        traffic.stream.producer.flush()
        await_true(lambda: held(traffic) == 0.0, "let go", READY_S)
        assert "feedback_back" in {entry["event"] for entry in logs}
    traffic.await_kinds({waiting}, "click")
    traffic.await_kinds(keys - {waiting} | sent, "timeout")


@contextmanager
def flowing(traffic: Traffic) -> Iterator[set[str]]:
    """Impressions without clicks while the block runs; yields their keys as they are sent."""
    stop = threading.Event()
    sent: set[str] = set()

    def flow() -> None:
        while not CLOCK.wait(stop, 0.1):
            sent.update(traffic.impressions(5))

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def held(traffic: Traffic) -> float:
    """The metric of the held heartbeat."""
    lines = traffic.running.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("springtide_join_feedback_held{")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0
