"""Asks a Flink cluster about its jobs over REST; must not know what a job computes."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx

from infra.errors import Invalid, Unavailable

_TIMEOUT_S: Final = 5.0
_ENDED: Final = frozenset({"FAILED", "CANCELED", "FINISHED"})
_ENDING: Final = _ENDED | {"FAILING", "CANCELLING"}
# What Flink says before an input has any watermark.
_NO_WATERMARK: Final = -(2**63)
_CURE: Final = "start the Flink cluster, or correct `flink.rest`"


@dataclass(frozen=True)
class Job:
    """A job as the cluster lists it; ``started_ms`` is milliseconds since 1970."""

    id: str
    name: str
    state: str
    started_ms: int
    tasks: int
    tasks_running: int

    @property
    def ended(self) -> bool:
        """Whether it can never run again."""
        return self.state in _ENDED

    @property
    def ending(self) -> bool:
        """Whether it will never run again, though some of its tasks may still do."""
        return self.state in _ENDING

    @property
    def working(self) -> bool:
        """Whether every task has a slot and runs."""
        return self.state == "RUNNING" and 0 < self.tasks == self.tasks_running


@dataclass(frozen=True)
class Checkpoint:
    """A completed checkpoint; ``path`` is None where it is kept in the JobManager's memory."""

    completed_ms: int
    path: str | None


class FlinkRest:
    """One cluster. Safe for many threads.

    Every method may raise :class:`~infra.errors.Unavailable`: the cluster does not answer.

    Args:
        address: Base address, such as ``http://127.0.0.1:8081``.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._client = httpx.Client(base_url=self.address, timeout=_TIMEOUT_S, trust_env=False)

    def jobs(self, prefix: str = "") -> list[Job]:
        """Jobs whose name begins with ``prefix``, newest first."""
        found = [
            Job(
                id=each["jid"],
                name=each["name"],
                state=each["state"],
                started_ms=each["start-time"],
                tasks=each["tasks"]["total"],
                tasks_running=each["tasks"]["running"],
            )
            for each in self._get("/jobs/overview")["jobs"]
            if each["name"].startswith(prefix)
        ]
        return sorted(found, key=lambda job: (job.started_ms, job.id), reverse=True)

    def job(self, job_id: str) -> Job | None:
        """One job, or None where the cluster does not know it (any more)."""
        return next((job for job in self.jobs() if job.id == job_id), None)

    def cause(self, job_id: str) -> str | None:
        """Why the job failed last: the innermost cause in one line, or None."""
        answer = self._get(f"/jobs/{job_id}/exceptions")
        entries = (answer.get("exceptionHistory") or {}).get("entries") or []
        if not entries:
            return None
        return root_cause(entries[0]["stacktrace"])

    def cancel(self, job_id: str) -> None:
        """Asks the job to end at once, keeping its last checkpoint; an ended job is no error."""
        response = self._send("PATCH", f"/jobs/{job_id}", params={"mode": "cancel"})
        if response.status_code not in {httpx.codes.ACCEPTED, httpx.codes.NOT_FOUND, httpx.codes.CONFLICT}:
            raise Unavailable(f"flink: cannot cancel job {job_id}: {response.text[:200]}", where=self.address)

    def stop_with_savepoint(self, job_id: str, folder: str) -> str:
        """Asks the job to write a savepoint below ``folder`` and to end; returns what to ask :meth:`savepoint` for.

        It is not drained: impressions whose window is open go into the savepoint, not out as negatives.
        """
        body = {"targetDirectory": folder, "drain": False}
        response = self._send("POST", f"/jobs/{job_id}/stop", json=body)
        if response.status_code != httpx.codes.ACCEPTED:
            raise Unavailable(f"flink: cannot stop job {job_id}: {response.text[:200]}", where=self.address)
        return str(response.json()["request-id"])

    def savepoint(self, job_id: str, request: str) -> str | None:
        """Where the savepoint of a request lies; None while it is being written.

        Raises:
            Unavailable: It failed, and the job goes on.
        """
        answer = self._get(f"/jobs/{job_id}/savepoints/{request}")
        if answer["status"]["id"] != "COMPLETED":
            return None
        if "failure-cause" in (found := answer["operation"]):
            cause = root_cause(str(found["failure-cause"].get("stack-trace", "")))
            raise Unavailable(f"flink: no savepoint of job {job_id}: {cause}", where=self.address)
        return str(found["location"])

    def checkpoint(self, job_id: str) -> Checkpoint | None:
        """The newest completed checkpoint, or None."""
        return next(iter(self.checkpoints(job_id)), None)

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """The completed checkpoints that Flink remembers, newest first.

        Older ones may be deleted by now, and Flink answers from a cache of some seconds: newer ones may exist.
        """
        answer = self._get(f"/jobs/{job_id}/checkpoints", absent={"latest": {}, "history": []})
        entries = [answer["latest"].get("completed"), *answer["history"]]
        found: dict[int, Checkpoint] = {}
        for each in entries:
            if each is None or each["status"] != "COMPLETED":
                continue
            path = str(each["external_path"])
            kept = path if "://" in path or path.startswith("/") else None
            found[each["id"]] = Checkpoint(int(each["latest_ack_timestamp"]), kept)
        return [found[number] for number in sorted(found, reverse=True)]

    def state_bytes(self, job_id: str, *, since_ms: int) -> int | None:
        """The size of the state in the newest checkpoint, if that began since then; None if it did not."""
        latest = self._get(f"/jobs/{job_id}/checkpoints", absent={"latest": {}})["latest"].get("completed")
        if latest is None or int(latest["trigger_timestamp"]) < since_ms:
            return None
        return int(latest["state_size"])

    def restored(self, job_id: str) -> str | None:
        """Path of the checkpoint from which the job last began, or None."""
        restored = self._get(f"/jobs/{job_id}/checkpoints", absent={"latest": {}})["latest"].get("restored")
        return str(restored["external_path"]) if restored is not None else None

    def restarts(self, job_id: str) -> int:
        """How often the job was restarted since it was submitted."""
        found = self._get(f"/jobs/{job_id}/metrics", get="numRestarts")
        return int(float(found[0]["value"])) if found else 0

    def watermark(self, job_id: str, vertex: str) -> int | None:
        """The lowest input watermark of the vertices whose name contains ``vertex``, ms since 1970.

        None until every one of them has one.
        """
        lowest: int | None = None
        for each in self._get(f"/jobs/{job_id}")["vertices"]:
            if vertex not in each["name"]:
                continue
            subtasks = self._get(f"/jobs/{job_id}/vertices/{each['id']}/watermarks")
            values = [int(subtask["value"]) for subtask in subtasks]
            if len(values) < each["parallelism"]:
                return None
            lowest = min(values if lowest is None else [lowest, *values])
        return None if lowest == _NO_WATERMARK else lowest

    def has_on_class_path(self, jar: str) -> bool:
        """Whether a jar whose name contains ``jar`` is part of the cluster itself."""
        return any(jar in entry for entry in self._get("/jobmanager/environment")["classpath"])

    def checkpoint_root(self) -> str | None:
        """The folder in which the cluster keeps checkpoints, or None where it keeps them in memory."""
        settings = {each["key"]: str(each["value"]) for each in self._get("/jobmanager/config")}
        return settings.get("execution.checkpointing.dir") or settings.get("state.checkpoints.dir")

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, path: str, *, absent: Any = None, **query: str) -> Any:
        response = self._send("GET", path, params=query)
        if absent is not None and response.status_code == httpx.codes.NOT_FOUND:
            return absent
        if response.status_code != httpx.codes.OK:
            what = f"flink: {path} answered {response.status_code}"
            raise Unavailable(what, cure=_CURE, where=self.address)
        try:
            return response.json()
        except ValueError:
            raise Invalid(f"{self.address} is no Flink cluster", cure="correct `flink.rest`") from None

    def _send(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, json: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        try:
            return self._client.request(method, path, params=params, json=json)
        except httpx.UnsupportedProtocol:
            raise Invalid(
                f"flink.rest: `{self.address}` is no address", wanted="such as http://127.0.0.1:8081"
            ) from None
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"flink does not answer: {reason}", cure=_CURE, where=self.address) from None


def root_cause(trace: str) -> str:
    """The innermost cause in a Java stack trace: one line, without packages and frames."""
    lines = trace.strip().splitlines() or ["no reason given"]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    last = causes[-1] if causes else lines[0]
    name, colon, text = last.partition(": ")
    if not colon:
        return name.rpartition(".")[2][:500]
    return (text if "." in name and " " not in name else last)[:500]
