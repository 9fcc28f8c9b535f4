"""The process behind `springtide join`: it finds, keeps and leaves its job, on real Flink and Kafka."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections import Counter
from datetime import datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from infra.errors import Invalid, Unavailable
from infra.kafka import KafkaAdmin, TopicSettings
from infra.local.stack import LocalStack
from infra.object_store import open_store
from infra.spec import EventField, Pipeline
from streaming import sql, topics
from streaming.flink_rest import FlinkRest
from streaming.job_watch import KEPT_CHECKPOINTS
from streaming.planner import Planner
from tests.streaming.controlled import (
    CLOCK,
    READY_S,
    Running,
    await_checkpoints,
    await_true,
    bucket,
    checkpoints,
    repeats,
    send,
)
from tests.streaming.events import Stream

ROOT = Path(__file__).resolve().parents[2]


def test_a_missing_topic_is_named_with_the_nearest_and_waited_for(spec: Pipeline, run: type[Running]) -> None:
    admin = KafkaAdmin(spec.kafka)
    wanted = topics.user_topics(spec)
    admin.ensure_topics([TopicSettings(wanted[0] + "s")])
    join = run(spec)
    missing = f"topic `{spec.name}.impressions` not found; nearest `{spec.name}.impressionss`"
    join.await_refusal(missing)
    assert topics.samples(spec.name) not in admin.describe().topics
    admin.ensure_topics([TopicSettings(name) for name in wanted])
    own = {each.name for each in topics.own_topics(spec)}
    await_true(lambda: own <= set(admin.describe().topics), "topics of its own", READY_S)
    await_true(lambda: missing not in join.get("/readyz").text, "another reason", READY_S)


def test_one_job_from_its_refusal_to_its_end(spec: Pipeline, run: type[Running]) -> None:
    """One story, as every job costs seconds: it is refused where it would join again unasked, begun as a replay,
    adopted, kept from another plan, and stopped."""
    stream = Stream(spec, CLOCK.now_ms())
    topic = topics.samples(spec.name)
    stream.producer.send(topic, b'{"sample_id":"joined before#click.0"}')
    stream.producer.flush()
    refused = run(spec).ended()
    assert isinstance(refused, Invalid)
    assert f"`{topic}` has 1 records" in str(refused) and "`springtide join --replay`" in str(refused)
    with FlinkRest(spec.flink.rest) as cluster:
        assert cluster.jobs(sql.job_prefix(spec.name)) == []

    first = run(spec, replay=True)
    status = first.await_ready()
    assert (status["role"], status["model"], status["job_state"]) == ("join", spec.name, "RUNNING")
    first.leave()

    second = run(spec, stop_job=True)
    assert second.await_ready()["job_id"] == status["job_id"]
    await_true(lambda: min(second.status()["heartbeats"].values()) > 0, "heartbeats sent", READY_S)
    changed = spec.model_copy(update={"join": spec.join.model_copy(update={"window": type(spec.join.window)("3s")})})
    refused = run(changed).ended()
    assert isinstance(refused, Invalid)
    assert status["job_id"] in str(refused) and "--upgrade" in str(refused)

    sent = send(stream, range(200))
    stream.until(lambda: {row["sample_id"] for row in stream.samples} >= sent, "every verdict", READY_S)
    assert repeats(stream) <= 1
    assert "springtide_join_job_running 1.0" in second.get("/metrics").text
    second.leave()
    with FlinkRest(spec.flink.rest) as cluster:
        assert all(job.ended for job in cluster.jobs(sql.job_prefix(spec.name)))
    stream.close()


@pytest.mark.long
@pytest.mark.timeout(600)  # two clusters end and begin, and a checkpoint is refused; four minutes on a busy machine
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_traffic_survives_a_killed_worker_and_a_cluster_that_forgets(
    spec: Pipeline, local_stack: LocalStack, run: type[Running], delivery: str
) -> None:
    """Flink restarts what a TaskManager lost; what a JobManager lost, only the names of the checkpoints tell. Where
    samples may come twice, the last of them is spoilt, so that the last but one must do."""
    spec = spec.model_copy(update={"samples": spec.samples.model_copy(update={"delivery": delivery})})
    once = delivery == "exactly_once"
    stream = Stream(spec, CLOCK.now_ms())
    running = run(spec)
    job_id = running.await_ready()["job_id"]
    sent = send(stream, range(200))
    stream.until(lambda: len(stream.samples) > 20, "the first samples", READY_S)
    folder = checkpoints(spec, local_stack)
    await_checkpoints(folder, 1)
    local_stack.flink.kill_task_manager()
    try:
        sent |= send(stream, range(200, 400))
        running.await_ready(False)
    finally:
        local_stack.flink.start_task_manager()
    running.await_ready()
    stream.until(lambda: {row["sample_id"] for row in stream.samples} >= sent, "every verdict", READY_S)
    assert running.status()["job_id"] == job_id
    assert repeats(stream) <= 1

    # The first may have begun before the last verdict, the last is spoilt below.
    await_checkpoints(folder, 3)
    running.leave()
    before = len(stream.samples)
    local_stack.flink.kill_job_manager()
    local_stack.flink.start()
    newest, older, *others = folder.kept() or []
    assert len(others) >= KEPT_CHECKPOINTS - 2
    if not once:
        key = newest.path.removeprefix(f"s3://{local_stack.s3.bucket}/")
        open_store(bucket(local_stack)).put(f"{key}/_metadata", b"spoilt")
    again = run(spec, stop_job=True)
    new_id = again.await_ready()["job_id"]
    assert new_id != job_id
    with FlinkRest(spec.flink.rest) as cluster:
        assert cluster.restored(new_id) == (newest if once else older).path
    sent |= send(stream, range(400, 420))
    stream.until(lambda: {row["sample_id"] for row in stream.samples} >= sent, "every verdict", READY_S)
    assert len(stream.samples) - before < 200
    assert repeats(stream) <= 1
    if once:
        assert max(Counter(row["sample_id"] for row in stream.samples).values()) == 1
    again.leave()
    stream.close()


@pytest.mark.long
def test_an_upgrade_under_traffic_leaves_no_gap_and_no_second_verdict(
    spec: Pipeline, local_stack: LocalStack, run: type[Running]
) -> None:
    """A pipeline with another field replaces the running one; the samples of before are not made again."""
    stream = Stream(spec, CLOCK.now_ms())
    first = run(spec)
    old = first.await_ready()["job_id"]
    sent = send(stream, range(100))
    stream.until(lambda: {row["sample_id"] for row in stream.samples} >= sent, "every verdict", READY_S)
    # What the slack does not reach must not come again; Flink tells its watermark up to 10 s late.
    known = max(datetime.fromisoformat(row["known_ts"]).timestamp() * 1000 for row in stream.samples)
    passed = known + 3 * spec.flink.checkpoint_interval.ms
    await_true(lambda: (first.status()["watermark_ms"] or 0) > passed, "event time past the slack", READY_S)
    before = len(stream.samples)
    first.leave()

    fields = [*spec.events.impressions.fields, EventField(name="colour")]
    impressions = spec.events.impressions.model_copy(update={"fields": tuple(fields)})
    changed = spec.model_copy(update={"events": spec.events.model_copy(update={"impressions": impressions})})
    second = run(changed, stop_job=True, upgrade=True)
    more = threading.Event()
    new: set[str] = set()

    def traffic() -> None:
        for number in itertools.count(100, 5):
            if more.is_set():
                return
            new.update(send(stream, range(number, number + 5), colour="red"))
            CLOCK.wait(more, 0.2)

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        with FlinkRest(spec.flink.rest) as cluster:

            def replaced() -> bool:
                job = cluster.job(old)
                return job is not None and job.ended

            await_true(replaced, "the old job cancelled", READY_S)
            assert second.await_ready()["job_id"] != old
    finally:
        more.set()
        thread.join()
    stream.until(lambda: {row["sample_id"] for row in stream.samples} >= sent | new, "every verdict", READY_S)
    cutover = (checkpoints(changed, local_stack).kept() or [])[0].cutover_ms
    verdicts = [(row["sample_id"], row["kind"], row["known_ts"]) for row in stream.samples]
    assert len({name for name, _, _ in verdicts}) == len(set(verdicts))
    assert any(row.get("colour") == "red" for row in stream.samples)
    second.leave()
    written = list(zip(stream.samples, stream.sampled_ms, strict=True))[before:]
    again = [(row["sample_id"], "colour" in row, at) for row, at in written if row["sample_id"] in sent]
    assert not again, f"came again, by the new one, when: {again}; it emits from {cutover} on, event time was {passed}"
    stream.close()


@pytest.mark.long
def test_of_two_jobs_of_one_plan_the_older_stays(spec: Pipeline, run: type[Running], planner: Planner) -> None:
    """As a controller leaves behind that was killed while it submitted."""
    Stream(spec, CLOCK.now_ms()).close()
    with FlinkRest(spec.flink.rest) as cluster:
        first = planner.submit(sql.plan(spec), cluster, job_id="1" * 32)
        with pytest.raises(Unavailable):
            planner.submit(sql.plan(spec), cluster, job_id="1" * 32)
        second = planner.submit(sql.plan(spec), cluster, job_id="2" * 32)
        running = run(spec, stop_job=True)
        assert running.await_ready()["job_id"] == first == "1" * 32

        def ended() -> bool:
            found = cluster.job(second)
            return found is not None and found.ended

        await_true(ended, "the younger job cancelled", READY_S)
        running.leave()


@pytest.mark.long
def test_a_planning_process_does_not_outlive_its_owner(tmp_path: Path) -> None:
    """Killed in the middle of planning, the owner leaves nobody behind who would still submit."""
    program = (
        "import sys\n"
        "from infra.clock import SystemClock\n"
        "from infra.local.jars import flink_kafka_connector\n"
        "from streaming import sql\n"
        "from streaming.planner import Planner\n"
        "from tests.streaming.pipelines import pipeline\n"
        "planner = Planner(flink_kafka_connector(), clock=SystemClock())\n"
        "process, _ = planner._started()\n"
        "print(process.pid, flush=True)\n"
        "planner.explain(sql.plan(pipeline()))\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    leash = psutil.Process(int(owner.stdout.readline()))
    await_true(lambda: any("java" in each.name() for each in leash.children(recursive=True)), "a JVM", READY_S)
    below = [leash, *leash.children(recursive=True)]
    owner.kill()
    owner.wait()
    owner.stdout.close()
    await_true(lambda: not any(each.is_running() and each.status() != "zombie" for each in below), "all gone", 5.0)
