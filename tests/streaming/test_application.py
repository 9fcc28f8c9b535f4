"""A Flink cluster that runs the join as its own application, and one that was started by somebody else."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.clock import new_uuid
from infra.local import flink_settings
from infra.local.flink_cluster import FlinkCluster
from infra.local.stack import LocalStack
from infra.pipeline_file import dump_pipeline
from infra.spec import Pipeline
from streaming.flink_rest import FlinkRest
from tests.streaming.controlled import (
    CLOCK,
    READY_S,
    Running,
    await_checkpoints,
    bucket,
    checkpoints,
    repeats,
    send,
)
from tests.streaming.events import Stream
from tests.streaming.pipelines import pipeline

pytestmark = pytest.mark.long


def described(stack: LocalStack, cluster_rest: str, mode: str) -> Pipeline:
    return pipeline(
        f"{mode}-{new_uuid()[:8]}",
        kafka={"bootstrap": stack.kafka.bootstrap},
        join={"window": "2s", "correction_window": "10s", "out_of_orderness": "3s", "idle_timeout": "10s"},
        control={"port": 0, "heartbeat_interval": "200ms"},
        flink={"rest": cluster_rest, "checkpoint_interval": "1s", "mode": mode},
        store=bucket(stack),
    )


@pytest.fixture
def settings(local_stack: LocalStack) -> dict[str, str]:
    """Checkpoints where those of the local cluster are."""
    s3 = local_stack.s3
    return flink_settings.s3_checkpoints(s3.endpoint, s3.access_key, s3.secret_key, s3.bucket, s3.region)


@pytest.fixture
def clusters() -> Iterator[list[FlinkCluster]]:
    """What is in it is stopped at the end."""
    found: list[FlinkCluster] = []
    yield found
    for cluster in found:
        cluster.kill()


def joined(stream: Stream, numbers: range, before: set[str]) -> set[str]:
    """Sends impressions and returns when every verdict of these and of those before is there."""
    sent = before | send(stream, numbers)
    stream.until(lambda: {row["sample_id"] for row in stream.samples} >= sent, "every verdict", READY_S)
    assert repeats(stream) == 1
    return sent


def test_the_join_as_an_application_goes_on_from_its_checkpoint_when_its_job_manager_was_lost(
    local_stack: LocalStack, settings: dict[str, str], clusters: list[FlinkCluster], tmp_path: Path
) -> None:
    file = tmp_path / "pipeline.yaml"
    program: list[Any] = ["--job-classname", "org.apache.flink.client.python.PythonDriver"]
    program += ["-pym", "streaming.application", file]
    cluster = FlinkCluster(
        tmp_path / "flink",
        tmp_path / "logs",
        slots=1,
        settings={**settings, "python.client.executable": sys.executable},
        application=list(map(str, program)),
    )
    clusters.append(cluster)
    spec = described(local_stack, cluster.rest, "application")
    stream = Stream(spec, CLOCK.now_ms())
    file.write_text(dump_pipeline(spec), encoding="utf-8")
    running = Running(spec)
    try:
        cluster.start()
        first = running.await_ready()["job_id"]
        sent = joined(stream, range(100), set())
        folder = checkpoints(spec, local_stack)
        await_checkpoints(folder, 2)
        cluster.kill_job_manager()
        running.await_ready(False)
        newest = (folder.kept() or [])[0]
        send(stream, range(100, 120))
        cluster.start_job_manager()
        running.await_ready()
        with FlinkRest(cluster.rest) as rest:
            (job,) = rest.jobs()
            assert rest.restored(job.id) == newest.path
        assert running.status()["job_id"] == job.id
        assert len(first) == len(job.id)
        before = len(stream.samples)
        joined(stream, range(120, 140), sent | {f"k{number}#click.0" for number in range(100, 120)})
        assert len(stream.samples) - before < 100
    finally:
        running.leave()
        stream.close()


def test_a_session_cluster_that_somebody_else_started_is_used_by_its_address(
    local_stack: LocalStack, settings: dict[str, str], clusters: list[FlinkCluster], tmp_path: Path
) -> None:
    """It is stopped with a savepoint and begun again from it: nothing is made twice."""
    cluster = FlinkCluster(tmp_path / "flink", tmp_path / "logs", slots=2, settings=settings)
    clusters.append(cluster)
    cluster.start()
    spec = described(local_stack, cluster.rest, "session")
    stream = Stream(spec, CLOCK.now_ms())
    first = Running(spec, stop_job=True)
    try:
        first.await_ready()
        sent = joined(stream, range(100), set())
        first.leave()
        newest = (checkpoints(spec, local_stack).kept() or [])[0]
        assert "/savepoint-" in newest.path
        second = Running(spec, stop_job=True)
        try:
            job = second.await_ready()["job_id"]
            with FlinkRest(cluster.rest) as rest:
                assert rest.restored(job) == newest.path
            sent = joined(stream, range(100, 120), sent)
            assert len(stream.samples) == len(sent)
        finally:
            second.leave()
    finally:
        first.leave()
        stream.close()
