"""The process behind `springtide join`: it finds, keeps and leaves its job, on real Flink and Kafka."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from infra.clock import SystemClock
from infra.errors import Invalid, SpringtideError
from infra.kafka import KafkaAdmin, TopicSettings
from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from infra.local.stack import LocalStack
from infra.object_store import open_store
from infra.spec import Pipeline, Secret, Store
from streaming import sql, topics
from streaming.controller import run_join
from streaming.flink_rest import FlinkRest
from streaming.job_watch import KEPT_CHECKPOINTS
from tests.streaming.events import Stream
from tests.streaming.pipelines import pipeline

CLOCK = SystemClock()
READY_S = 120.0
LEAVE_S = 10.0


class Running:
    """`run_join` in a thread, as the command runs it in a process."""

    def __init__(self, spec: Pipeline, *, stop_job: bool = False, replay: bool = False) -> None:
        self.error: SpringtideError | None = None
        self._stop = threading.Event()
        self._url: list[str] = []
        self._thread = threading.Thread(target=self._run, args=(spec, stop_job, replay), daemon=True)
        self._thread.start()

    def _run(self, spec: Pipeline, stop_job: bool, replay: bool) -> None:
        try:
            run_join(spec, clock=CLOCK, stop=self._stop, stop_job=stop_job, replay=replay, listening=self._url.append)
        except SpringtideError as error:
            self.error = error

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self._url[0] + path, trust_env=False, timeout=5.0)

    def await_ready(self, wanted: bool = True) -> dict[str, Any]:
        await_true(lambda: bool(self._url), "an address", READY_S)

        def answered() -> bool:
            assert self._thread.is_alive(), self.error
            return (self.get("/readyz").status_code == httpx.codes.OK) == wanted

        await_true(answered, "ready" if wanted else "unready", READY_S)
        status: dict[str, Any] = self.get("/status").json()
        return status

    def leave(self) -> None:
        """Safe to call twice."""
        self._stop.set()
        self._thread.join(LEAVE_S)
        assert not self._thread.is_alive()

    def ended(self) -> SpringtideError:
        self._thread.join(READY_S)
        assert self.error is not None
        return self.error


def await_true(condition: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = CLOCK.monotonic() + seconds
    while not condition():
        assert CLOCK.monotonic() < deadline, f"not {what} within {seconds} s"
        CLOCK.sleep(0.05)


@pytest.fixture
def spec(local_kafka: KafkaServer, local_flink: FlinkCluster, unique: Callable[[str], str]) -> Iterator[Pipeline]:
    """A pipeline on the local stack, whose job is cancelled at the end whatever happened."""
    found = pipeline(
        unique("join"),
        kafka={"bootstrap": local_kafka.bootstrap},
        join={"window": "2s", "correction_window": "10s", "out_of_orderness": "3s", "idle_timeout": "2s"},
        control={"port": 0, "heartbeat_interval": "200ms"},
        flink={"rest": local_flink.rest, "checkpoint_interval": "1s"},
    )
    yield found
    with FlinkRest(local_flink.rest) as cluster:
        for job in cluster.jobs(sql.job_prefix(found.name)):
            if not job.ended:
                cluster.cancel(job.id)


@pytest.fixture
def run(spec: Pipeline) -> Iterator[type[Running]]:
    """Starts what leaves at the end, also where the test has failed: it would submit its cancelled job again."""
    started: list[Running] = []

    class Leaving(Running):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    yield Leaving
    for each in started:
        each.leave()


def test_a_missing_topic_is_named_with_the_nearest(spec: Pipeline, run: type[Running]) -> None:
    KafkaAdmin(spec.kafka).ensure_topics([TopicSettings(topics.user_topics(spec)[0] + "s")])
    error = run(spec).ended()
    assert isinstance(error, Invalid)
    assert f"topic `{spec.name}.impressions` not found; nearest `{spec.name}.impressionss`" in str(error)


def test_what_was_joined_is_joined_again_only_where_that_is_asked_for(spec: Pipeline, run: type[Running]) -> None:
    """Samples are there, but the cluster knows nothing of the job that wrote them."""
    stream = Stream(spec, CLOCK.now_ms())
    topic = topics.samples(spec.name)
    stream.producer.send(topic, b"{}")
    stream.producer.flush()
    refused = run(spec).ended()
    assert isinstance(refused, Invalid)
    assert f"`{topic}` has 1 records" in str(refused) and "`springtide join --replay`" in str(refused)
    with FlinkRest(spec.flink.rest) as cluster:
        assert cluster.jobs(sql.job_prefix(spec.name)) == []

    again = run(spec, stop_job=True, replay=True)
    job_id = again.await_ready()["job_id"]
    with FlinkRest(spec.flink.rest) as cluster:
        assert cluster.restored(job_id) is None
    again.leave()
    stream.close()


def test_one_job_through_restart_outage_and_kill(spec: Pipeline, local_stack: LocalStack, run: type[Running]) -> None:
    """One story, as every job costs seconds: adopt it, refuse another plan, lose its worker under traffic, stop it,
    and go on from its last checkpoint but one, for the last one is gone."""
    now = CLOCK.now_ms()
    stream = Stream(spec, now)
    first = run(spec)
    status = first.await_ready()
    assert (status["role"], status["model"], status["job_state"]) == ("join", spec.name, "RUNNING")
    first.leave()

    second = run(spec, stop_job=True)
    assert second.await_ready()["job_id"] == status["job_id"]
    await_true(lambda: min(second.get("/status").json()["heartbeats"].values()) > 0, "heartbeats sent", READY_S)

    changed = spec.model_copy(update={"join": spec.join.model_copy(update={"window": type(spec.join.window)("3s")})})
    refused = run(changed).ended()
    assert isinstance(refused, Invalid)
    assert status["job_id"] in str(refused) and "--stop-job" in str(refused)

    sent = send(stream, range(200))
    stream.until(lambda: len(stream.samples) > 20, "the first samples", READY_S)
    with FlinkRest(spec.flink.rest) as cluster:
        await_true(lambda: cluster.checkpoint(status["job_id"]) is not None, "a checkpoint", READY_S)
    local_stack.flink.kill_task_manager()
    try:
        sent |= send(stream, range(200, 400))
        second.await_ready(False)
    finally:
        local_stack.flink.start_task_manager()
    second.await_ready()
    stream.until(lambda: {row["sample_id"] for row in stream.samples} >= sent, "every verdict", READY_S)

    assert second.get("/status").json()["job_id"] == status["job_id"]
    assert repeats(stream) <= 1
    metrics = second.get("/metrics").text
    assert "springtide_join_job_running 1.0" in metrics
    now = CLOCK.now_ms()
    with FlinkRest(spec.flink.rest) as cluster:

        def newer() -> int:
            return sum(checkpoint.completed_ms > now for checkpoint in cluster.checkpoints(status["job_id"]))

        # The first may have begun before the last verdict, the last is deleted below.
        await_true(lambda: newer() >= 3, "three checkpoints after the last verdict", READY_S)
        second.leave()
        assert all(job.ended for job in cluster.jobs(sql.job_prefix(spec.name)))
        store, server = open_store(bucket(local_stack)), f"s3://{local_stack.s3.bucket}/"
        folder = f"flink/checkpoints/{status['job_id']}/"
        numbers = sorted({int(key.split("/chk-")[1].split("/")[0]) for key in store.list(folder) if "/chk-" in key})
        assert len(numbers) == KEPT_CHECKPOINTS
        for key in store.list(f"{folder}chk-{numbers[-1]}/"):
            store.delete(key)

        before = len(stream.samples)
        third = run(spec, stop_job=True)
        job_id = third.await_ready()["job_id"]
        assert job_id != status["job_id"]
        assert cluster.restored(job_id) == f"{server}{folder}chk-{numbers[-2]}"
    sent |= send(stream, range(400, 420))
    stream.until(lambda: {row["sample_id"] for row in stream.samples} >= sent, "every verdict", READY_S)
    # Had it begun anew, all 400 would have come again.
    assert len(stream.samples) - before < 100
    assert repeats(stream) <= 1
    third.leave()
    stream.close()


def bucket(stack: LocalStack) -> Store:
    """Where the local cluster keeps its checkpoints."""
    return Store(
        url=f"s3://{stack.s3.bucket}",
        endpoint=stack.s3.endpoint,
        region=stack.s3.region,
        access_key=Secret(value=stack.s3.access_key),
        secret_key=Secret(value=stack.s3.secret_key),
    )


def send(stream: Stream, numbers: range) -> set[str]:
    """Impressions now, every fifth of them clicked; returns the verdicts they must have."""
    seconds = (CLOCK.now_ms() - stream.base_ms) / 1000
    for number in numbers:
        stream.impression(f"k{number}", seconds)
        if number % 5 == 0:
            stream.click(f"k{number}", seconds + 0.1)
    stream.producer.flush()
    return {f"k{number}#click.0" for number in numbers}


def repeats(stream: Stream) -> int:
    """How many different bodies a sample id has at most; its repeats must say the same."""
    bodies: dict[str, set[str]] = {}
    for row in stream.samples:
        bodies.setdefault(row["sample_id"], set()).add(repr(sorted(row.items(), key=str)))
    return max(map(len, bodies.values()))
