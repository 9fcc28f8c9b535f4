"""One whole loop for the tests of this folder, with traffic that counts what it sends."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from checkpointing.history import newest_version
from infra.clock import SystemClock, new_uuid
from infra.kafka import Producer
from infra.local.stack import LocalStack
from infra.object_store import ObjectStore, open_store
from infra.spec import Pipeline
from springtide.datasets.event import Event
from springtide.datasets.replay import Replay
from springtide.local_pipeline import Ports, local_pipeline
from springtide.loop import Loop
from springtide.reckoning import Reckoner, Reckoning

# At 200 Kafka, Flink and the learner take both of two cores, and whatever else runs waits for them.
EVENTS_PER_SECOND = 50
SETTLE_SECONDS = 60.0
ITEMS, USERS = 50, 200
# Who knows it may decide on the page.
TOKEN = "let-me"
# Longer than any server of the tests is away, so that the traffic itself loses nothing.
DELIVERY_SECONDS = 120.0
DOCUMENT: dict[str, Any] = {
    "events": {
        "impressions": {
            "fields": [
                {"name": "user", "type": "string"},
                {"name": "item", "type": "string"},
                {"name": "tags", "type": "list[string]"},
                {"name": "price", "type": "number"},
            ]
        }
    },
    "features": [
        {"kind": "id", "name": "user", "source": "user", "table": "user"},
        {"kind": "id", "name": "item", "source": "item", "table": "item"},
        {"kind": "id", "name": "tags", "source": "tags", "table": "tag", "combiner": "mean"},
        {"kind": "number", "name": "price", "source": "price", "scaling": "standard"},
    ],
    "tables": [{"name": name, "dim": 8} for name in ("user", "item", "tag")],
    "model": {"name": "deepfm", "hidden": [16]},
    # Tests take turns with traffic of their own: label rates leap between them as in no stream, which the gate refuses.
    "gate": {"label_rate": None, "calibration": None, "log_loss": None, "coverage": None, "norm": None},
}


def fields(user: int, item: int) -> dict[str, object]:
    """An impression's features."""
    return {"user": f"u{user}", "item": f"i{item}", "tags": [f"t{item % 7}", f"t{item % 3}"], "price": float(item)}


@dataclass
class RunningLoop:
    """A loop that runs, and how to disturb and count it."""

    stack: LocalStack
    pipeline: Pipeline
    loop: Loop
    store: ObjectStore
    reckoner: Reckoner
    clock: SystemClock = field(default_factory=SystemClock)
    # What was sent: probes do not count.
    impressions: int = 0
    clicks: int = 0
    bad: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _replay: Replay | None = None
    _failure: BaseException | None = None

    def start_traffic(self, per_second: float = EVENTS_PER_SECOND) -> None:
        """Sends impressions and clicks until :meth:`stop_traffic`; every third impression is clicked."""
        if self._thread is not None:  # of a test that failed before it ended its own
            self.stop_traffic()
        self._stop.clear()
        producer = Producer(self.pipeline.kafka, delivery_timeout=DELIVERY_SECONDS)
        self._replay = Replay(self.pipeline.events, self.pipeline.join.window.ms, producer, self.clock)
        run = new_uuid()[:8]
        log = (
            Event(
                round(n * 1000 / per_second),
                f"{run}-{n}",
                fields(n % USERS, n * 7 % ITEMS),
                0.1 if n % 3 == 0 else None,
            )
            for n in itertools.count()
        )
        replay = self._replay

        def send() -> None:
            try:
                replay.run(log, speed=1.0, stop=self._stop)
            except BaseException as error:
                self._failure = error
                raise

        self._thread = threading.Thread(target=send, name="traffic")
        self._thread.start()

    def stop_traffic(self) -> None:
        """Ends the traffic; everything sent has been delivered then."""
        assert self._thread is not None and self._replay is not None
        self._stop.set()
        self._thread.join()
        self._thread = None
        self.impressions += self._replay.sent.impressions
        self.clicks += self._replay.sent.clicks
        assert self._failure is None, self._failure

    def settled(self) -> Reckoning:
        """The count once everything sent has its outcome in a version."""
        return self.reckoner.settle(
            impressions=self.impressions,
            clicks=self.clicks,
            clock=self.clock,
            seconds=SETTLE_SECONDS,
            alive=lambda: True,
        )

    def assert_nothing_lost(self) -> Reckoning:
        """Counts, and holds the loop to its promise."""
        counted = self.settled()
        assert (counted.lost, counted.doubled, counted.uncovered, counted.unsent) == (0, 0, 0, 0), counted
        dead = {self.pipeline.events.impressions.topic: self.bad} if self.bad else {}
        assert counted.dead == dead
        return counted

    def await_versions(self, count: int) -> None:
        """Waits until ``count`` more versions are committed."""
        wanted = (newest_version(self.store) or 0) + count
        self.until(lambda: (newest_version(self.store) or 0) >= wanted, 30, f"version {wanted}")

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Waits for ``condition``."""
        deadline = self.clock.monotonic() + seconds
        while not condition():
            assert self.clock.monotonic() < deadline, f"not within {seconds} s: {what}"
            self.clock.wait(threading.Event(), 0.05)


@contextmanager
def started(stack: LocalStack, home: Path, document: dict[str, Any], name: str, **parts: Any) -> Iterator[RunningLoop]:
    """A loop of ``document`` with two replicas and the page; stopped when the block ends."""
    pipeline = local_pipeline(document, name=name, stack=stack, home=home, ports=Ports.free(), **parts)
    loop = Loop(pipeline, home, home / "logs")
    loop.create_topics()
    loop.start()
    store = open_store(pipeline.store)
    reckoner = Reckoner(pipeline, store)
    running = RunningLoop(stack, pipeline, loop, store, reckoner)
    try:
        yield running
    finally:
        if running._thread is not None:
            running.stop_traffic()
        reckoner.close()
        loop.stop()


# Not of the session: eight processes that poll would run beside all tests of the folders that follow.
@pytest.fixture(scope="package")
def running(local_stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLoop]:
    """The loop of this folder, with two replicas and the page."""
    home = tmp_path_factory.mktemp("loop")
    token = home / "token"
    token.write_text(TOKEN, encoding="utf-8")
    decisions = {"token": {"file": str(token)}}
    with started(local_stack, home, DOCUMENT, f"loop-{new_uuid()[:8]}", dashboard=decisions) as running:
        yield running
