"""A store with versions in it, and a replica's application over them in this process."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client import generate_latest

from checkpointing.follower import Follower
from infra.clock import Clock, SystemClock
from infra.feature_spec import feature_spec_hash
from infra.metrics import Metrics
from infra.object_store import ObjectStore, open_store
from infra.spec import Pipeline
from serving.acceptance import Acceptance
from serving.answering import Answering
from serving.app import build_app
from serving.connection import Direct
from serving.endpoints import Endpoints
from serving.follow import Following
from serving.inference import Inference
from serving.listening import listen
from serving.plain_heads import PlainHeads
from serving.predictor import Predictor
from serving.server import Server
from serving.shadow import Shadow
from serving.signature import Signature
from serving.snapshot import Readers, Switch
from springtide.wiring import build_encoder, build_tables
from tests.checkpointing.stepping_clock import SteppingClock
from tests.serving.model import Model, make_pipeline

CLOCK = SystemClock()


@dataclass
class Replica:
    """A replica in this process; a test takes its follower's steps one by one."""

    pipeline: Pipeline
    store: ObjectStore
    metrics: Metrics
    switch: Switch
    readers: Readers
    predictor: Predictor
    following: Following
    client: httpx.Client
    stop: threading.Event
    thread: threading.Thread

    def close(self) -> None:
        self.client.close()
        self.stop.set()
        self.thread.join()


def build_replica(
    pipeline: Pipeline,
    store: ObjectStore,
    clock: Clock = CLOCK,
    *,
    by_framework: bool = False,
    commit_interval_s: float = 0.0,
) -> Replica:
    encoder = build_encoder(pipeline)
    metrics = Metrics("replica", clock=CLOCK)
    tables = build_tables(pipeline, encoder, max_batch=64, trainable=False)
    switch = Switch(tables)
    readers = Readers(tables)
    signature = Signature.of(pipeline)
    predictor = Predictor(signature, encoder, switch, readers, metrics)
    following = Following(
        follower=lambda: Follower(store, pipeline.name, clock, lambda version: version in switch.kept),
        acceptance=Acceptance(signature, encoder.features, feature_spec_hash(pipeline)),
        switch=switch,
        metrics=metrics,
        clock=clock,
        poll_interval_s=0.02,
        commit_interval_s=commit_interval_s,
    )

    def not_ready() -> str | None:
        return None if predictor.version is not None else "no version applied yet"

    max_body = pipeline.serving.max_body.bytes
    answering = Answering(max_body=max_body, metrics=metrics, clock=CLOCK)
    inference = Inference(predictor, Shadow(predictor, metrics))
    app = build_app(
        Endpoints(predictor, answering, inference, not_ready, "test"),
        metrics=lambda: generate_latest(metrics.registry),
        status=dict,
        not_ready=not_ready,
    )
    stop = threading.Event()
    listener = listen("127.0.0.1", 0)
    direct = None if by_framework else Direct(PlainHeads(inference, max_body), inference, answering)
    server = Server(app, CLOCK, stop, direct=direct)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    client = httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False)
    return Replica(pipeline, store, metrics, switch, readers, predictor, following, client, stop, thread)


@pytest.fixture
def store(unique: Callable[[str], str], tmp_path: Path) -> ObjectStore:
    return open_store(make_pipeline(tmp_path.as_uri()).store)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return make_pipeline(tmp_path.as_uri())


@pytest.fixture
def model(pipeline: Pipeline, store: ObjectStore) -> Model:
    return Model(pipeline, store)


@pytest.fixture
def replica(pipeline: Pipeline, store: ObjectStore) -> Iterator[Replica]:
    built = build_replica(pipeline, store)
    yield built
    built.close()


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def stepped(pipeline: Pipeline, store: ObjectStore, clock: SteppingClock) -> Iterator[Replica]:
    """A replica that follows by a clock that the test turns."""
    built = build_replica(pipeline, store, clock)
    yield built
    built.close()


@dataclass
class Served:
    """A replica that answers, and the model that says what."""

    model: Model
    replica: Replica

    @property
    def client(self) -> httpx.Client:
        return self.replica.client


def one_version(tmp_path_factory: pytest.TempPathFactory, *, by_framework: bool) -> Iterator[Served]:
    pipeline = make_pipeline(tmp_path_factory.mktemp("served").as_uri())
    store = open_store(pipeline.store)
    model = Model(pipeline, store)
    model.commit()
    replica = build_replica(pipeline, store, by_framework=by_framework)
    replica.following.step()
    yield Served(model, replica)
    replica.close()


@pytest.fixture(scope="session")
def directly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One version applied; not changed by the tests that share it. Plain questions are answered on the connection."""
    yield from one_version(tmp_path_factory, by_framework=False)


@pytest.fixture(scope="session")
def by_framework(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same where the web framework answers all."""
    yield from one_version(tmp_path_factory, by_framework=True)


@pytest.fixture(params=["directly", "by_framework"])
def served(request: pytest.FixtureRequest) -> Served:
    """One version applied; what answers is no matter."""
    found: Served = request.getfixturevalue(request.param)
    return found
