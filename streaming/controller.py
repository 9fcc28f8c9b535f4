"""What `springtide join` runs: topics, the Flink job, heartbeats, status; must not know SQL or what samples hold."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from infra import spec
from infra.backoff import Backoff, Stopped, retry
from infra.clock import Clock
from infra.errors import Unavailable
from infra.kafka import KafkaAdmin, Producer
from infra.local.jars import flink_kafka_connector
from infra.logs import logger
from infra.metrics import Metrics
from infra.status_server import StatusServer
from streaming import beginning, sql, topics
from streaming.checkpoint_folder import CheckpointFolder
from streaming.flink_rest import FlinkRest, Job
from streaming.heartbeat import Heartbeats
from streaming.job_watch import Attempt, JobView, JobWatch
from streaming.outcome_watch import OutcomeWatch
from streaming.planner import Planner
from streaming.schema_check import check_schemas
from streaming.silence import SilenceWatch

_log = logger()

# How often the job is looked at.
WATCH_S: Final = 1.0
# A lost job is not submitted more often than this.
_LONGEST_WAIT_S: Final = 10.0
_STOP_JOB_S: Final = 15.0
# Of these, what cancelling takes where the savepoint is not written in time.
_CANCEL_S: Final = 5.0
# A transaction is readable after the checkpoint behind it, which may fail once.
_SLACK_CHECKPOINTS: Final = 2


def run_join(
    pipeline: spec.Pipeline,
    *,
    clock: Clock,
    stop: threading.Event,
    stop_job: bool = False,
    replay: bool = False,
    upgrade: bool = False,
    connector: Path | None = None,
    listening: Callable[[str], None] | None = None,
) -> None:
    """Joins until ``stop`` is set: keeps the Flink job running, sends heartbeats, answers for its health.

    Topics that are missing are waited for, and the readiness answer names them. A job that has ended goes on from its
    last checkpoint. Where none is known and samples were written already, nothing is joined again unless ``replay``
    asks for it.

    A broker or cluster that is away is waited for, and reported once per change. When this ends the job goes on, so
    that a restart of this process costs no sample; without heartbeats its last negatives wait for it to come back.

    Args:
        pipeline: What to join.
        clock: Event time of the heartbeats, and all waiting.
        stop: Set to leave; it takes a second or two.
        stop_job: Whether to end the Flink job when leaving, with a savepoint where its checkpoints are kept.
        replay: Whether a new job begins with the oldest events that the topics still hold, whatever was joined before.
        upgrade: Whether a running join with another plan is replaced by this one, without a gap.
        connector: The Kafka SQL connector's jar; by default the one that set-up has fetched.
        listening: Told the address of the status server once it answers.

    Raises:
        Invalid: A schema lacks what is read, a join with another plan is running, samples were written but no
            checkpoint is known or none can be restored, the port is in use, a secret is missing, or the brokers refuse
            the login.
        Bug: Flink refuses the generated SQL.
    """
    beginning.require_own_join(pipeline)
    plan = sql.plan(pipeline)
    metrics = Metrics("join", clock=clock)
    desk = _Desk(pipeline, metrics)
    host, port = pipeline.control.host, pipeline.control.port
    with (
        StatusServer(host, port, metrics=metrics, status=desk.status, ready=desk.reason) as server,
        FlinkRest(pipeline.flink.rest) as cluster,
        Planner(connector or flink_kafka_connector(), clock=clock, stop=stop) as planner,
    ):
        if listening is not None:
            listening(server.url)
        try:
            admin = KafkaAdmin(pipeline.kafka, clock=clock)
            retry(partial(_prepare, pipeline, admin, desk), "find and create topics", clock=clock, stop=stop)
            watch = JobWatch(
                plan,
                cluster,
                CheckpointFolder(partial(_checkpoint_root, pipeline, cluster), plan.folder, pipeline.store),
                _Submitter(pipeline, cluster, planner) if pipeline.flink.mode == "session" else None,
                clock=clock,
                cutover=partial(beginning.first_cutover_ms, pipeline, clock, replay=replay),
                require_new=partial(beginning.require_no_samples, pipeline, clock),
                replay=replay,
                upgrade=upgrade,
                slack_ms=_SLACK_CHECKPOINTS * pipeline.flink.checkpoint_interval.ms,
            )
            producer = Producer(pipeline.kafka, clock=clock)
            with (
                closing(SilenceWatch(pipeline, clock=clock, metrics=metrics)) as silence,
                closing(OutcomeWatch(pipeline, clock=clock, metrics=metrics)) as outcomes,
                Heartbeats(
                    producer,
                    _inputs(pipeline),
                    interval=pipeline.control.heartbeat_interval.seconds,
                    clock=clock,
                    metrics=metrics,
                    held=silence.held,
                ) as heartbeats,
            ):
                desk.heartbeats = heartbeats
                desk.silence = silence
                _watch(watch, heartbeats, (silence.look, outcomes.look), desk, clock, stop)
        except Stopped:
            pass
        if stop_job:
            _stop_job(plan, cluster, clock)


def _prepare(pipeline: spec.Pipeline, admin: KafkaAdmin, desk: _Desk) -> None:
    try:
        beginning.prepare_topics(pipeline, admin)
    except Unavailable as error:
        desk.lost(error, "kafka")
        raise


def _checkpoint_root(pipeline: spec.Pipeline, cluster: FlinkRest) -> str | None:
    return pipeline.flink.checkpoints or cluster.checkpoint_root()


class _Submitter:
    """Submits tries of one pipeline's join. The JVM that plans stays while tries fail and goes when one is taken."""

    def __init__(self, pipeline: spec.Pipeline, cluster: FlinkRest, planner: Planner) -> None:
        self._pipeline = pipeline
        self._cluster = cluster
        self._planner = planner
        self._checked = False

    def __call__(self, attempt: Attempt) -> str:
        # Not before there is something to submit: a registry that is away must not keep heartbeats from a running job.
        # Nor again: a job that is lost goes on whatever became of the schemas.
        if not self._checked:
            check_schemas(self._pipeline)
            self._checked = True
        plan = sql.plan(self._pipeline, cutover_ms=attempt.cutover_ms, checkpoints=attempt.checkpoints)
        job_id = self._planner.submit(plan, self._cluster, recover_from=attempt.recover_from, job_id=attempt.job_id)
        self._planner.close()
        return job_id


def _inputs(pipeline: spec.Pipeline) -> dict[str, str]:
    names = ("impressions", *(feedback.name for feedback in pipeline.events.feedback))
    return dict(zip(names, topics.heartbeats(pipeline), strict=True))


def _watch(
    watch: JobWatch,
    heartbeats: Heartbeats,
    looks: Iterable[Callable[[], None]],
    desk: _Desk,
    clock: Clock,
    stop: threading.Event,
) -> None:
    backoff = Backoff("keep the join running", clock=clock, stop=stop, longest=_LONGEST_WAIT_S)
    while not stop.is_set():
        heartbeats.raise_failure()
        for look in looks:
            # A broker that is away is told by the heartbeats.
            with suppress(Unavailable):
                look()
        try:
            view = watch.look()
        except Unavailable as error:
            desk.lost(error, "flink")
            backoff.failed(error)
            continue
        backoff.succeeded()
        desk.saw(view)
        clock.wait(stop, WATCH_S)


def _stop_job(plan: sql.JoinPlan, cluster: FlinkRest, clock: Clock) -> None:
    """Ends the job and waits until it has; a cluster that is away has no job to stop.

    Where its checkpoints lie in a store it leaves a savepoint beside them, so that the next job repeats nothing.
    """
    deadline = clock.monotonic() + _STOP_JOB_S
    try:
        for job in cluster.jobs(plan.job_name):
            if not job.ending:
                _end(job, cluster, clock, deadline)
        while living := [job for job in cluster.jobs(plan.job_name) if not job.ended]:
            if clock.monotonic() > deadline:
                _log.warning("join_still_ending", job_id=living[0].id)
                return
            clock.sleep(0.1)
        _log.info("join_stopped", plan=plan.plan_hash)
    except Unavailable as error:
        _log.warning("join_not_stopped", error=error)


def _end(job: Job, cluster: FlinkRest, clock: Clock, deadline: float) -> None:
    """Has the job end with a savepoint; cancels it where there is none in time."""
    newest = cluster.checkpoint(job.id)
    if job.working and newest is not None and newest.path is not None:
        try:
            request = cluster.stop_with_savepoint(job.id, newest.path.rpartition("/")[0])
            while clock.monotonic() < deadline - _CANCEL_S:
                if (savepoint := cluster.savepoint(job.id, request)) is not None:
                    _log.info("join_savepoint", job_id=job.id, savepoint=savepoint)
                    return
                clock.sleep(0.1)
            _log.warning("join_without_savepoint", job_id=job.id, reason="it was not written in time")
        except Unavailable as error:
            _log.warning("join_without_savepoint", job_id=job.id, reason=error)
    cluster.cancel(job.id)


class _Desk:
    """What the status pages say; written by the watching thread, read by the server's."""

    def __init__(self, pipeline: spec.Pipeline, metrics: Metrics) -> None:
        self._model = pipeline.name
        self._metrics = metrics
        self._lock = threading.Lock()
        self._view: JobView | None = None
        self._reason: str | None = "the join is being submitted"
        self._restarts: tuple[str | None, int] = (None, 0)
        self.heartbeats: Heartbeats | None = None
        self.silence: SilenceWatch | None = None

    def status(self) -> Mapping[str, Any]:
        with self._lock:
            view, reason = self._view, self._reason
        return {
            "role": "join",
            "model": self._model,
            "job_id": view.id if view is not None else None,
            "job_state": view.state if view is not None else None,
            "watermark_ms": view.watermark_ms if view is not None else None,
            "heartbeats": self.heartbeats.delivered() if self.heartbeats is not None else {},
            "held": self.silence.all_held() if self.silence is not None else [],
            "reason": reason,
        }

    def reason(self) -> str | None:
        """None when ready."""
        with self._lock:
            return self._reason

    def saw(self, view: JobView) -> None:
        with self._lock:
            self._view = view
            self._reason = None if view.working else f"flink: the job is {view.state}, not all of its tasks run"
        self._metrics.set("springtide_ready", view.working)
        self._metrics.set("springtide_join_job_running", view.working)
        if view.watermark_ms is not None:
            self._metrics.set("springtide_join_watermark_timestamp_seconds", view.watermark_ms / 1000)
        if view.checkpoint_ms is not None:
            self._metrics.set("springtide_join_checkpoint_timestamp_seconds", view.checkpoint_ms / 1000)
        self._count_restarts(view)

    def lost(self, error: Unavailable, dependency: str) -> None:
        with self._lock:
            self._reason = str(error)
        self._metrics.set("springtide_ready", 0)
        self._metrics.set("springtide_join_job_running", 0)
        self._metrics.inc("springtide_unavailable_total", dependency=dependency)

    def _count_restarts(self, view: JobView) -> None:
        job, known = self._restarts
        known = known if job == view.id else 0
        self._metrics.inc("springtide_join_restarts_total", max(0, view.restarts - known))
        self._restarts = (view.id, view.restarts)
