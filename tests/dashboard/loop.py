"""A loop small enough to steer by hand: real Kafka topics, a real store, real status servers; no model in it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson

from checkpointing.content import Content
from checkpointing.manifest import Gate, Manifest, Position, Timeline
from checkpointing.quality import Quality, bins
from checkpointing.writer import Writer
from dashboard.run import run_dashboard
from infra.clock import SystemClock, iso
from infra.kafka import Delivery, KafkaAdmin, Producer, TopicSettings
from infra.metrics import Metrics
from infra.object_store import ObjectStore, open_store
from infra.spec import Pipeline, Store
from infra.status_server import StatusServer
from streaming import topics
from tests.asking import HTTP

CLOCK = SystemClock()
BUCKET_MS = 10_000
# Faster than a person needs, so that tests wait less.
PERIOD_S = 0.25
TOKEN = "let-me"


def pipeline_for(
    folder: Path, name: str, *, bootstrap: str = "127.0.0.1:1", token: str | None = None, **targets: Any
) -> Pipeline:
    """One model on topics of its own name, versions and history below ``folder``; who knows the token may decide."""
    decisions = {} if token is None else {"token": {"value": token}}
    return Pipeline.model_validate(
        {
            "name": name,
            "kafka": {"bootstrap": bootstrap},
            "events": {
                "impressions": {"topic": f"{name}-shown", "key": "id", "time": "ts", "fields": [{"name": "item"}]},
                "feedback": [{"name": "click", "topic": f"{name}-clicks", "key": "id", "time": "ts"}],
            },
            "features": [{"kind": "id", "name": "item", "source": "item", "table": "item"}],
            "tables": [{"name": "item", "dim": 4}],
            "join": {"window": "5s", "correction_window": "10s"},
            "store": {"url": (folder / "versions").as_uri()},
            "dashboard": {"history": str(folder / "history.sqlite"), "targets": targets, **decisions},
        }
    )


def quality_of(samples: int, positives: int, *, seed: int = 1) -> dict[str, Any]:
    """One bucket of progressive quality, of predictions that know something."""
    random = np.random.default_rng(seed)
    labels = np.arange(samples) < positives
    predictions = np.clip(0.3 + 0.2 * labels + random.normal(0, 0.15, samples), 0.01, 0.99)
    quality = Quality(samples, positives, float(-np.log(np.where(labels, predictions, 1 - predictions)).sum()))
    quality.prediction_sum = float(predictions.sum())
    np.add.at(quality.positive_histogram, bins(predictions[labels]), 1)
    np.add.at(quality.negative_histogram, bins(predictions[~labels]), 1)
    return quality.to_json()


class Process:
    """One process with a real status server, whose status the test writes."""

    def __init__(self, role: str, status: dict[str, Any]) -> None:
        self.status = {"role": role, **status}
        self._metrics = Metrics("replica" if role == "replica" else "learner")
        self._server: StatusServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answers, again on the same port after the first time."""
        self._server = StatusServer(
            "127.0.0.1", self.port, metrics=self._metrics, status=lambda: self.status, ready=lambda: None
        )
        self.port = self._server.port

    def stop(self) -> None:
        """Answers no longer."""
        if self._server is not None:
            self._server.close()
            self._server = None


@dataclass
class Sent:
    """Where Kafka put one record."""

    partition: int
    offset: int
    received_ms: int


class Loop:
    """What joins, learners and replicas would do, one step at a time.

    Args:
        folder: For versions and history.
        name: Of the model; makes the topics its own.
        bootstrap: A broker.
        replicas: How many replicas answer.
    """

    def __init__(self, folder: Path, name: str, bootstrap: str, replicas: int = 2) -> None:
        self.learner = Process("learner", {"state": "training", "epoch": 1, "samples_total": 0, "duplicates_total": 0})
        self.join = Process("join", {"job_state": "RUNNING"})
        self.replicas = [
            Process("replica", {"name": f"replica-{n}", "version": None, "applied": [], "ready": False})
            for n in range(replicas)
        ]
        self.pipeline = pipeline_for(
            folder,
            name,
            bootstrap=bootstrap,
            token=TOKEN,
            join=self.join.url,
            learner=self.learner.url,
            replicas=[replica.url for replica in self.replicas],
        )
        kafka = self.pipeline.kafka
        own = [topics.samples(name), topics.late(name), topics.dead(name)]
        KafkaAdmin(kafka).ensure_topics([TopicSettings(t) for t in (*own, *topics.user_topics(self.pipeline))])
        self.producer = Producer(kafka)
        self.store: ObjectStore = open_store(Store(url=self.pipeline.store.url))
        self.writer = Writer.take_over(self.store, name, "test", CLOCK)
        self.position = 0
        self._samples = 0

    def click(self, key: str) -> Sent:
        """The user's feedback."""
        now = CLOCK.now_ms()
        return self._send(self.pipeline.events.feedback[0].topic, key, {"id": key, "ts": iso(now)})

    def sample(self, key: str, kind: str) -> Sent:
        """A verdict of the join."""
        sent = self._send(topics.samples(self.pipeline.name), key, {"sample_id": f"{key}#click.0", "kind": kind})
        self.position = sent.offset + 1
        self._samples += 1
        return sent

    def orphan(self, key: str, event_ms: int) -> Sent:
        """Feedback that found no impression."""
        body = {"reason": "orphan", "key": key, "feedback": "click", "feedback_ts": iso(event_ms)}
        return self._send(topics.late(self.pipeline.name), key, body)

    def commit(self, *, oldest_received_ms: int | None = None, refused: str = "", **fields: Any) -> Manifest:
        """A version that holds every sample so far."""
        now = CLOCK.now_ms()
        timeline = Timeline()
        if oldest_received_ms is not None:
            timeline = Timeline(
                received_ts=oldest_received_ms,
                sampled_ts=oldest_received_ms + 40,
                trained_ts=oldest_received_ms + 60,
                captured_ts=oldest_received_ms + 70,
            )
        bucket = now - now % BUCKET_MS
        usual: dict[str, Any] = {
            "positions": [Position(topic=topics.samples(self.pipeline.name), partition=0, next_offset=self.position)],
            "timeline": timeline,
            "newest_known_ts": now,
            "learned_through": now,
            "metrics": {str(bucket): quality_of(200, 60), str(bucket - 60_000): quality_of(100, 30)},
            "gate": Gate(servable=not refused, reasons=(refused,) if refused else ()),
        }
        manifest = self.writer.commit(Content(**(usual | fields)))
        self.learner.status |= {
            "version": manifest.version,
            "samples_total": self._samples,
            "behind_records": 0,
        }
        return manifest

    def apply(self, number: int, manifest: Manifest) -> int:
        """A replica switches; returns when."""
        now = CLOCK.now_ms()
        status = self.replicas[number].status
        entry = {"version": manifest.version, "committed_ts": manifest.timeline.committed_ts, "applied_ts": now}
        status |= {"version": manifest.version, "ready": True, "applied": [*status["applied"], entry][-120:]}
        return now

    def apply_everywhere(self, manifest: Manifest) -> None:
        for number in range(len(self.replicas)):
            self.apply(number, manifest)

    def close(self) -> None:
        for process in (self.learner, self.join, *self.replicas):
            process.stop()
        self.producer.close()

    def _send(self, topic: str, key: str, body: dict[str, Any]) -> Sent:
        found: list[Delivery] = []
        self.producer.send(topic, orjson.dumps(body), key=key.encode(), delivered=found.append)
        self.producer.flush()
        return Sent(found[0].partition, found[0].offset, found[0].timestamp_ms)


@dataclass(frozen=True)
class Page:
    """A running page's address."""

    url: str

    def get(self, path: str, **headers: str) -> httpx.Response:
        return HTTP.get(f"{self.url}{path}", headers=headers, timeout=10)

    def ticks(self, model: str | None = None) -> Generator[dict[str, Any], None, None]:
        """The state after each message of the live stream."""
        state: dict[str, Any] = {}
        address = f"{self.url}/api/live" + (f"?model={model}" if model else "")
        with httpx.stream("GET", address, timeout=10, trust_env=False) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    state = state | orjson.loads(line.removeprefix("data: "))
                    yield state

    def until(
        self, true: Callable[[dict[str, Any]], object], ticks: int = 60, model: str | None = None
    ) -> dict[str, Any]:
        """The first state for which ``true`` holds."""
        state: dict[str, Any] = {}
        with contextlib.closing(self.ticks(model)) as stream:
            for _, state in zip(range(ticks), stream, strict=False):
                if true(state):
                    return state
        raise AssertionError(f"not within {ticks} ticks; last was {state}")


@contextlib.contextmanager
def served(*pipelines: Pipeline, port: int = 0) -> Iterator[Page]:
    """The page's server as the command runs it, in a thread."""
    stop, up = threading.Event(), threading.Event()
    found: list[int] = []
    failed: list[BaseException] = []

    def listening(bound: int) -> None:
        found.append(bound)
        up.set()

    def run() -> None:
        try:
            run_dashboard(
                [(pipeline, open_store(pipeline.store)) for pipeline in pipelines],
                clock=CLOCK,
                host="127.0.0.1",
                port=port,
                stop=stop,
                listening=listening,
                period_s=PERIOD_S,
            )
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            failed.append(error)
        finally:
            up.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert up.wait(20), "the page did not come up"
        if failed:
            raise failed[0]
        yield Page(f"http://127.0.0.1:{found[0]}")
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive(), "the page did not end"
    if failed:
        raise failed[0]
