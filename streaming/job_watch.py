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
from streaming.submit import NotStarted

_log = logger()

# The joins' part of a vertex's name; their watermark says how far the join is complete.
_JOIN_VERTEX: Final = "IntervalJoin"
# Where a cluster keeps fewer (`execution.checkpointing.num-retained`), older ones are tried in vain.
KEPT_CHECKPOINTS: Final = 5


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
    cancelled it, it failed for good) is submitted again from the newest checkpoint known, also where it ended before
    this process began. A checkpoint from which the job does not start is given up for the next older one.

    Args:
        plan: The job wanted.
        cluster: Where it runs.
        submit: Submits the plan from a checkpoint path or None, and returns the job's id.
        require_new: Asked before a job begins with the earliest offsets that did not do so before; raises
            :class:`~infra.errors.Invalid` where that would join again what was joined already.
        replay: Whether the first job that is submitted begins with the earliest offsets in any case.
    """

    def __init__(
        self,
        plan: JoinPlan,
        cluster: FlinkRest,
        submit: Callable[[str | None], str],
        *,
        require_new: Callable[[], None],
        replay: bool = False,
    ) -> None:
        self._plan = plan
        self._cluster = cluster
        self._submit = submit
        self._require_new = require_new
        self._replay = replay
        self._job_id: str | None = None
        self._state: str | None = None
        # Where the job was submitted from; only said of a job of this process.
        self._from: str | None = None
        # Whether the last job of this process began with the earliest offsets: then the next one may too.
        self._began = False
        self._checkpoints: dict[str, int] = {}  # path -> when it was completed
        self._given_up: list[str] = []

    @property
    def job_id(self) -> str | None:
        """The job's id, once there is one."""
        return self._job_id

    def look(self) -> JobView:
        """Makes sure that the job is there, and says how it is.

        Raises:
            Invalid: A join of this model with another plan is running, no known checkpoint can be restored, or none is
                known and beginning anew is refused.
            Unavailable: The cluster does not answer, or the job has just failed for good.
        """
        own = self._own()
        job = next((job for job in own if not job.ended), None)
        if job is None:
            self._submit_again(own)
            job = next((job for job in self._own() if not job.ended), None)
        if job is None:
            raise Unavailable(f"flink lost the job {self._job_id}", where=self._cluster.address)
        self._adopt(job)
        self._tell(job)
        newest = self._remember(job)
        return JobView(
            id=job.id,
            state=job.state,
            working=job.working,
            watermark_ms=self._cluster.watermark(job.id, _JOIN_VERTEX) if job.working else None,
            checkpoint_ms=newest.completed_ms if newest is not None else self._newest_ms(),
            restarts=self._cluster.restarts(job.id),
        )

    def _newest_ms(self) -> int | None:
        return max(self._checkpoints.values(), default=0) or None

    def _own(self) -> list[Job]:
        """Every job of this plan that the cluster remembers, newest first."""
        jobs = self._cluster.jobs(job_prefix(self._plan.model))
        others = [job for job in jobs if not job.ended and job.name != self._plan.job_name]
        if others:
            raise Invalid(
                f"flink: a join of `{self._plan.model}` with another plan is running: job {others[0].id}",
                wanted=f"plan {self._plan.plan_hash}",
                cure="stop the command that runs it with --stop-job, or cancel the job, then start this one again",
                where=self._cluster.address,
            )
        return [job for job in jobs if job.name == self._plan.job_name]

    def _adopt(self, job: Job) -> None:
        if job.id == self._job_id:
            return
        _log.info("join_adopted", job_id=job.id, plan=self._plan.plan_hash)
        if self._replay:
            _log.warning("replay_not_begun", job_id=job.id, reason="the join is running already")
        self._job_id, self._from, self._began, self._replay = job.id, None, False, False

    def _remember(self, job: Job) -> Checkpoint | None:
        """Notes the job's checkpoints and returns the newest."""
        found = self._cluster.checkpoints(job.id)
        for checkpoint in found:
            if checkpoint.path is not None:
                self._checkpoints[checkpoint.path] = checkpoint.completed_ms
        if not found and (path := self._cluster.restored(job.id)) is not None:
            self._checkpoints.setdefault(path, 0)  # not said when, but longer ago than the others
        newest_first = sorted(self._checkpoints.items(), key=lambda item: item[1], reverse=True)
        self._checkpoints = dict(newest_first[:KEPT_CHECKPOINTS])
        if found and job.id == self._job_id:
            self._from, self._began = None, False
        return next(iter(found), None)

    def _submit_again(self, ended: list[Job]) -> None:
        for job in reversed(ended):
            self._remember(job)
        last = next((job for job in ended if job.id == self._job_id), None)
        if last is not None and last.state == "FAILED" and self._state != "FAILED":
            # Said once; the next look submits again, after the caller's backoff.
            self._state = "FAILED"
            self._give_up(self._from)
            cause = self._cluster.cause(last.id) or "flink gives no cause"
            raise Unavailable(f"flink: the join {last.id} failed: {cause}", where=self._cluster.address)
        path = self._path()
        self._from = path
        try:
            self._job_id = self._submit(path)
        except NotStarted:
            self._give_up(path)
            raise
        self._replay, self._began = False, path is None
        self._state = None
        _log.info("join_submitted", job_id=self._job_id, plan=self._plan.plan_hash, checkpoint=path)

    def _path(self) -> str | None:
        """The checkpoint to start from; None for the earliest offsets."""
        if self._replay or self._began:
            return None
        known = [path for path in self._checkpoints if path not in self._given_up]
        if known:
            return known[0]
        if self._given_up:
            raise Invalid(
                f"flink: the join starts from none of its checkpoints: {', '.join(self._given_up)}",
                wanted="at least one of them as Flink wrote it",
                cure="restore them, or run `springtide join --replay` to join again everything that the topics hold",
                where=self._cluster.address,
            )
        self._require_new()
        return None

    def _give_up(self, path: str | None) -> None:
        if path is not None and path not in self._given_up:
            _log.warning("checkpoint_given_up", checkpoint=path)
            self._given_up.append(path)

    def _tell(self, job: Job) -> None:
        if job.state == self._state:
            return
        self._state = job.state
        cause = self._cluster.cause(job.id) if job.state in {"RESTARTING", "FAILING"} else None
        log = _log.warning if cause else _log.info
        log("join_state", job_id=job.id, state=job.state, **({"cause": cause} if cause else {}))
