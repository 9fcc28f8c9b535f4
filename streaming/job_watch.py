"""Keeps exactly one job of a plan on a Flink cluster: adopts, submits, submits again; must not know Kafka."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from infra.clock import Clock
from infra.errors import Invalid, Unavailable
from infra.logs import logger
from streaming.checkpoint_folder import CheckpointFolder, cutover_of
from streaming.flink_rest import Checkpoint, FlinkRest, Job
from streaming.planner import NotStarted
from streaming.sql import JoinPlan, job_prefix

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


@dataclass(frozen=True)
class Attempt:
    """One try to have the plan's job running.

    Args:
        job_id: The id for the job: 32 hexadecimal digits.
        recover_from: The checkpoint to start from; None begins anew.
        cutover_ms: From when on the job emits, ms since 1970; 0 for everything that it reads.
        checkpoints: Folder for the job's checkpoints; None keeps the cluster's.
    """

    job_id: str
    recover_from: str | None
    cutover_ms: int
    checkpoints: str | None


class JobWatch:
    """Looks after the job of one plan; every call to :meth:`look` is one step.

    Flink itself restarts a job whose tasks fail. A job that is gone altogether (its JobManager was lost, someone
    cancelled it, it failed for good) is submitted again from the newest checkpoint known, also where it ended before
    this process began. A checkpoint from which the job does not start is given up for the next older one.

    The id of a job is made of the plan and of what is known of the jobs before it: where two watches see the same and
    both submit, the cluster takes one. Should two jobs of one plan run all the same, the older one stays.

    Args:
        plan: The job wanted.
        cluster: Where it runs.
        folder: Where the plan's checkpoints lie.
        submit: Submits the plan, and returns the job's id; None where the cluster has a program of its own for that.
        clock: Names the folders of new jobs.
        slack_ms: What an older job may have emitted less long ago may not be written yet.
        cutover: From when on a job emits that begins anew, ms since 1970; 0 for everything.
        upgrade: Whether a job of another plan is to be replaced: the new one emits from where the old one has come to,
            and the old one is cancelled when the new one has come as far. Nothing is missing, and what both emit bears
            the same ids.
        require_new: Asked before a job begins with the earliest offsets that did not do so before; raises
            :class:`~infra.errors.Invalid` where that would join again what was joined already.
        replay: Whether the first job that is submitted begins with the earliest offsets in any case.
    """

    def __init__(
        self,
        plan: JoinPlan,
        cluster: FlinkRest,
        folder: CheckpointFolder,
        submit: Callable[[Attempt], str] | None,
        *,
        clock: Clock,
        slack_ms: int,
        cutover: Callable[[], int],
        require_new: Callable[[], None],
        replay: bool = False,
        upgrade: bool = False,
    ) -> None:
        self._plan = plan
        self._cluster = cluster
        self._folder = folder
        self._submit = submit
        self._clock = clock
        self._cutover = cutover
        self._slack_ms = slack_ms
        self._upgrade = upgrade
        self._old: list[Job] = []
        self._wanted: int | None = None
        self._refused = 0
        self._require_new = require_new
        self._replay = replay
        self._job_id: str | None = None
        self._state: str | None = None
        # Where the job was submitted from; only said of a job of this process.
        self._from: str | None = None
        # From when on the last job of this process emitted, if it began anew: the next one may begin there too.
        self._began: int | None = None
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
        job = _oldest(own)
        if job is None:
            self._submit_again(own)
            job = _oldest(self._own())
        if job is None:
            raise Unavailable(f"flink lost the job {self._job_id}", where=self._cluster.address)
        self._adopt(job)
        self._tell(job)
        newest = self._remember(job)
        watermark = self._cluster.watermark(job.id, _JOIN_VERTEX) if job.working else None
        if newest is not None:
            # Without a checkpoint a new job that is lost would have nothing to go on from, and the old one is gone.
            self._replace(job, watermark)
        return JobView(
            id=job.id,
            state=job.state,
            working=job.working,
            watermark_ms=watermark,
            checkpoint_ms=newest.completed_ms if newest is not None else self._newest_ms(),
            restarts=self._cluster.restarts(job.id),
        )

    def _newest_ms(self) -> int | None:
        return max(self._checkpoints.values(), default=0) or None

    def _own(self) -> list[Job]:
        """Every job of this plan that the cluster remembers, newest first."""
        jobs = self._cluster.jobs(job_prefix(self._plan.model))
        others = [job for job in jobs if not job.ending and job.name != self._plan.job_name]
        self._old = others if self._upgrade else []
        if others and not self._upgrade:
            raise Invalid(
                f"flink: a join of `{self._plan.model}` with another plan is running: job {others[0].id}",
                wanted=f"plan {self._plan.plan_hash}",
                cure="to replace it without a gap, run `springtide join --upgrade`; or stop it with --stop-job first",
                where=self._cluster.address,
            )
        own = [job for job in jobs if job.name == self._plan.job_name]
        # The cluster knows ids, not names: a job that was submitted while it did not answer in time may be there twice.
        for doubled in [job for job in own if not job.ended][:-1]:
            _log.warning("join_doubled", cancelled=doubled.id, plan=self._plan.plan_hash)
            self._cluster.cancel(doubled.id)
        return own

    def _adopt(self, job: Job) -> None:
        if job.id == self._job_id:
            return
        _log.info("join_adopted", job_id=job.id, plan=self._plan.plan_hash)
        if self._replay:
            _log.warning("replay_not_begun", job_id=job.id, reason="the join is running already")
        self._job_id, self._from, self._began, self._replay = job.id, None, None, False

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
            self._from, self._began = None, None
        return next(iter(found), None)

    def _submit_again(self, ended: list[Job]) -> None:
        if self._submit is None:
            raise Unavailable(
                f"flink: no join of plan {self._plan.plan_hash} runs there",
                cure="start the application cluster with this pipeline; see docs/flink.md",
                where=self._cluster.address,
            )
        for job in reversed(ended):
            self._remember(job)
        last = next((job for job in ended if job.id == self._job_id), None)
        if last is not None and last.state == "FAILED" and self._state != "FAILED":
            # Said once; the next look submits again, after the caller's backoff.
            self._state = "FAILED"
            self._give_up(self._from)
            cause = self._cluster.cause(last.id) or "flink gives no cause"
            raise Unavailable(f"flink: the join {last.id} failed: {cause}", where=self._cluster.address)
        path = None if self._old else self._path()
        self._from = path
        now, cutover = self._clock.now_ms(), self._since(path)
        seen = [self._plan.job_name, path, str(self._refused), *(job.id for job in ended), now if self._replay else ""]
        job_id = hashlib.sha256("\n".join(map(str, seen)).encode()).hexdigest()[:32]
        try:
            self._job_id = self._submit(Attempt(job_id, path, cutover, self._folder.of_job(now, cutover)))
        except NotStarted:
            self._give_up(path)
            raise
        except Unavailable:
            # Perhaps the id is taken: by another's job, which the next look finds, or by one that is forgotten by now.
            self._refused += 1
            raise
        self._refused = 0
        self._replay, self._began = False, cutover if path is None else None
        self._state = None
        _log.info("join_submitted", job_id=self._job_id, plan=self._plan.plan_hash, checkpoint=path)

    def _since(self, path: str | None) -> int:
        """From when on a job emits that begins there, ms since 1970."""
        if path is not None:
            return cutover_of(path)
        if self._old:
            return min(map(self._come_to, self._old)) - self._slack_ms
        return self._cutover() if self._began is None else self._began

    def _come_to(self, job: Job) -> int:
        """How far event time has come in a job that is to be replaced."""
        watermark = self._cluster.watermark(job.id, _JOIN_VERTEX)
        if watermark is None:
            raise Unavailable(
                f"flink: event time has not begun in job {job.id}, which is to be replaced",
                cure="wait for its first events, or stop it",
                where=self._cluster.address,
            )
        return watermark

    def _replace(self, job: Job, watermark: int | None) -> None:
        """Cancels the jobs of older plans once the new one has come as far as they have."""
        if not self._old:
            return
        # Both move on: where the old ones were at the last look is as near as can be asked.
        wanted, self._wanted = self._wanted, max(map(self._come_to, self._old))
        if watermark is None or wanted is None or watermark < wanted:
            return
        for old in self._old:
            self._cluster.cancel(old.id)
            _log.info("join_upgraded", from_job=old.id, job_id=job.id, plan=self._plan.plan_hash)
        self._old, self._upgrade = [], False

    def _path(self) -> str | None:
        """The checkpoint to start from; None for the earliest offsets."""
        if self._replay or self._began is not None:
            return None
        kept = self._folder.kept()
        paths = list(self._checkpoints) if kept is None else [each.path for each in kept]
        known = [path for path in paths if path not in self._given_up]
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


def _oldest(jobs: list[Job]) -> Job | None:
    """The oldest job that has not ended, of jobs that are sorted newest first."""
    return next((job for job in reversed(jobs) if not job.ended), None)
