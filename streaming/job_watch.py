"""Keeps exactly one job of a plan on a Flink cluster: adopts, submits, submits again; must not know Kafka."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from infra.errors import Invalid, Unavailable
from infra.logs import logger
from streaming.flink_rest import Checkpoint, FlinkRest, Job
from streaming.sql import JoinPlan, job_prefix

_log = logger()

# The joins' part of a vertex's name; their watermark says how far the join is complete.
_JOIN_VERTEX: Final = "IntervalJoin"


@dataclass(frozen=True)
class JobView:
    """The job as it was last seen; times in ms since 1970."""

    id: str
    state: str
    working: bool
    watermark_ms: int | None
    checkpoint_ms: int | None
    restarts: int


class JobWatch:
    """Looks after the job of one plan; every call to :meth:`look` is one step.

    Flink itself restarts a job whose tasks fail. A job that is gone altogether (its JobManager was lost, someone
    cancelled it, it failed for good) is submitted again from the newest checkpoint seen, or from the earliest offsets;
    the sample ids are the same either way.

    Args:
        plan: The job wanted.
        cluster: Where it runs.
        submit: Submits the plan from a checkpoint path or None, and returns the job's id.
    """

    def __init__(self, plan: JoinPlan, cluster: FlinkRest, submit: Callable[[str | None], str]) -> None:
        self._plan = plan
        self._cluster = cluster
        self._submit = submit
        self._job_id: str | None = None
        self._state: str | None = None
        self._checkpoint: Checkpoint | None = None

    @property
    def job_id(self) -> str | None:
        """The job's id, once there is one."""
        return self._job_id

    def look(self) -> JobView:
        """Makes sure that the job is there, and says how it is.

        Raises:
            Invalid: A join of this model with another plan is running.
            Unavailable: The cluster does not answer, or the job has just failed for good.
        """
        job = self._found()
        if job is None or job.ended:
            self._replace(job)
            job = self._found()
        if job is None:
            raise Unavailable(f"flink lost the job {self._job_id}", where=self._cluster.address)
        self._tell(job)
        self._checkpoint = self._cluster.checkpoint(job.id) or self._checkpoint
        return JobView(
            id=job.id,
            state=job.state,
            working=job.working,
            watermark_ms=self._cluster.watermark(job.id, _JOIN_VERTEX) if job.working else None,
            checkpoint_ms=self._checkpoint.completed_ms if self._checkpoint is not None else None,
            restarts=self._cluster.restarts(job.id),
        )

    def cancel(self) -> None:
        """Ends the job, if there is one; it is gone from the cluster's slots a moment later."""
        job = self._found()
        if job is not None and not job.ended:
            self._cluster.cancel(job.id)
            _log.info("join_cancelled", job_id=job.id)

    def _found(self) -> Job | None:
        jobs = self._cluster.jobs(job_prefix(self._plan.model))
        living = [job for job in jobs if not job.ended]
        others = [job for job in living if job.name != self._plan.job_name]
        if others:
            raise Invalid(
                f"flink: a join of `{self._plan.model}` with another plan is running: job {others[0].id}",
                wanted=f"plan {self._plan.plan_hash}",
                cure="stop the command that runs it with --stop-job, or cancel the job, then start this one again",
                where=self._cluster.address,
            )
        own = [job for job in living if job.name == self._plan.job_name]
        if own:
            if self._job_id is None:
                _log.info("join_adopted", job_id=own[0].id, plan=self._plan.plan_hash)
            self._job_id = own[0].id
            return own[0]
        return next((job for job in jobs if job.id == self._job_id), None)

    def _replace(self, ended: Job | None) -> None:
        path = self._checkpoint.path if self._checkpoint is not None else None
        if ended is not None and ended.state == "FAILED" and self._state != "FAILED":
            # Said once; the next look submits again, after the caller's backoff.
            self._state = "FAILED"
            cause = self._cluster.cause(ended.id) or "flink gives no cause"
            raise Unavailable(f"flink: the join {ended.id} failed: {cause}", where=self._cluster.address)
        self._job_id = self._submit(path)
        self._state = None
        _log.info("join_submitted", job_id=self._job_id, plan=self._plan.plan_hash, checkpoint=path)

    def _tell(self, job: Job) -> None:
        if job.state == self._state:
            return
        self._state = job.state
        cause = self._cluster.cause(job.id) if job.state in {"RESTARTING", "FAILING"} else None
        log = _log.warning if cause else _log.info
        log("join_state", job_id=job.id, state=job.state, **({"cause": cause} if cause else {}))
