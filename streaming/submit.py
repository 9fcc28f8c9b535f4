"""Submits a join to a Flink session cluster, from a process of its own; must not know what the statements mean.

PyFlink needs a JVM of several hundred MiB only while a job is planned, so that is done by ``python -m
streaming.submit``, which reads a :class:`_Request` from its standard input, writes one line of JSON to the file that
the request names, and ends. The statements hold secrets, which therefore stand on no command line.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from infra.backoff import Stopped
from infra.clock import Clock
from infra.errors import Bug, Invalid, SpringtideError, Unavailable
from streaming.flink_rest import FlinkRest, root_cause
from streaming.sql import JoinPlan

# Planning takes 5 to 10 s on an idle machine, most of it for starting the JVM.
TIMEOUT_S: Final = 180.0
_POLL_S: Final = 0.1
# The client plans one job and ends: little heap, and no time for a second compiler.
_JVM_OPTIONS: Final = "-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
_CONNECTOR: Final = "flink-sql-connector-kafka"
_QUIET: Final = "status = error\nrootLogger.level = off\n"

# What in Flink's words means that the cluster, not the statements, is the trouble.
_OUTSIDE: Final = (
    "Failed to submit JobGraph",
    "Connection refused",
    "ConnectException",
    "RestClientException",
    "RestHandlerException",
    "TimeoutException",
    "UnknownHostException",
)


# Flink took the job, and it ended before any of its tasks was deployed: no state could be read, say.
_NOT_STARTED: Final = "JobInitializationException"


class NotStarted(Unavailable):
    """The cluster took the job, which then failed for good before it ran."""


@dataclass(frozen=True)
class _Request:
    """All that the short-lived process needs; ``answer`` is the file for its result, ``rest`` None to explain."""

    rest: str | None
    job_name: str
    definitions: tuple[str, ...]
    insert: str
    settings: dict[str, str]
    connector: str
    ship_connector: bool
    recover_from: str | None
    answer: str


def submit(
    plan: JoinPlan,
    cluster: FlinkRest,
    connector: Path,
    *,
    clock: Clock,
    stop: threading.Event | None = None,
    recover_from: str | None = None,
) -> str:
    """Plans and submits; returns the job's id as soon as the cluster has accepted it.

    Args:
        plan: What to submit.
        cluster: Where to.
        connector: The Kafka SQL connector's jar, for planning, and for the cluster where it has none of its own.
        clock: For the deadline.
        stop: Ends the attempt early when set.
        recover_from: Path of a checkpoint of the same plan to start from; None starts at the topics' earliest offsets.

    Raises:
        Unavailable: The cluster does not answer or accept, or planning took longer than 180 s.
        NotStarted: The job failed before it ran; where it was to recover, ``recover_from`` may be at fault.
        Invalid: The connector's jar or PyFlink is missing.
        Bug: Flink refuses the generated SQL.
        Stopped: ``stop`` was set.
    """
    return _asked(
        plan,
        connector,
        clock,
        stop or threading.Event(),
        rest=cluster.address,
        ship_connector=not cluster.has_on_class_path(_CONNECTOR),
        recover_from=recover_from,
    )


def explain(plan: JoinPlan, connector: Path, *, clock: Clock) -> str:
    """Flink's optimised plan as text, without a cluster.

    Raises:
        Bug: Flink refuses the generated SQL.
    """
    return _asked(plan, connector, clock, threading.Event(), rest=None, ship_connector=False, recover_from=None)


def _asked(
    plan: JoinPlan,
    connector: Path,
    clock: Clock,
    stop: threading.Event,
    *,
    rest: str | None,
    ship_connector: bool,
    recover_from: str | None,
) -> str:
    if not connector.is_file():
        raise Invalid(f"the Kafka connector for Flink is missing: {connector.name}", cure="run `make setup`")
    with tempfile.TemporaryDirectory(prefix="springtide-submit-") as folder:
        answer = Path(folder) / "answer.json"
        request = _Request(
            rest=rest,
            job_name=plan.job_name,
            definitions=plan.definitions,
            insert=plan.insert,
            settings=dict(plan.settings),
            connector=str(connector.absolute()),
            ship_connector=ship_connector,
            recover_from=recover_from,
            answer=str(answer),
        )
        said = _run(request, Path(folder), clock, stop)
        if not answer.exists():
            raise Bug(f"streaming.submit ended without an answer: {said[-500:]}")
        return _read(json.loads(answer.read_text("utf-8")), rest or "")


def _run(request: _Request, folder: Path, clock: Clock, stop: threading.Event) -> str:
    """Runs the short-lived process to its end; returns what it said, which is of interest only if it died."""
    (folder / "log4j-cli.properties").write_text(_QUIET, encoding="utf-8")
    environment = {
        **os.environ,
        "JVM_ARGS": _JVM_OPTIONS,
        "FLINK_LOG_DIR": str(folder),
        "LOG4J_PROPERTIES": str(folder / "log4j-cli.properties"),
        # The client's class path; nothing that stands here travels to the cluster.
        "HADOOP_CLASSPATH": request.connector,
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "PYTHONWARNINGS": "ignore",
    }
    with (folder / "said").open("w+b") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "streaming.submit"],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(asdict(request)).encode())
            process.stdin.close()
            deadline = clock.monotonic() + TIMEOUT_S
            while process.poll() is None:
                if clock.wait(stop, _POLL_S):
                    raise Stopped("submit the join")
                if clock.monotonic() > deadline:
                    raise Unavailable(f"flink: planning the join took longer than {TIMEOUT_S:.0f} s")
        finally:
            _end(process)
        said.seek(0)
        return said.read().decode("utf-8", errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and its JVM, which is a child of it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read(answer: dict[str, Any], where: str) -> str:
    if "result" in answer:
        return str(answer["result"])
    kinds: dict[str, type[SpringtideError]] = {
        "unavailable": Unavailable,
        "not_started": NotStarted,
        "invalid": Invalid,
        "bug": Bug,
    }
    raise kinds[answer["kind"]](answer["what"], cure=answer["cure"], where=where)


def main() -> None:
    """The short-lived process: request in, answer out."""
    values = json.loads(sys.stdin.buffer.read())
    request = _Request(**{**values, "definitions": tuple(values["definitions"])})
    answer = _submitted(request)
    path = Path(request.answer)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(answer), encoding="utf-8")
    part.rename(path)


def _submitted(request: _Request) -> dict[str, str]:
    try:
        from py4j.protocol import Py4JError
        from pyflink.common import Configuration
        from pyflink.table import EnvironmentSettings, TableEnvironment
        from pyflink.util.exceptions import JavaException
    except ImportError as error:
        return {"kind": "invalid", "what": f"PyFlink is missing: {error}", "cure": "install springtide[streaming]"}
    configuration = Configuration()
    for key, value in _settings(request).items():
        configuration.set_string(key, value)
    try:
        chosen = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration)
        environment = TableEnvironment.create(chosen.build())
        for definition in request.definitions:
            environment.execute_sql(definition)
        if request.rest is None:
            return {"result": environment.explain_sql(request.insert)}
        job = environment.execute_sql(request.insert).get_job_client()
        return {"result": str(job.get_job_id())}
    except (JavaException, Py4JError) as error:
        return _refusal(str(error))


def _settings(request: _Request) -> dict[str, str]:
    found = {**request.settings, "pipeline.name": request.job_name}
    if request.rest is None:
        return found
    address = urlsplit(request.rest)
    secure = address.scheme == "https"
    found |= {
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": str(address.hostname),
        "rest.port": str(address.port or (443 if secure else 80)),
    }
    if secure:
        found["security.ssl.rest.enabled"] = "true"
    if address.path.strip("/"):
        found["rest.url-prefix"] = address.path
    if request.ship_connector:
        found["pipeline.jars"] = Path(request.connector).as_uri()
    if request.recover_from is not None:
        found["execution.state-recovery.path"] = request.recover_from
    return found


def _refusal(trace: str) -> dict[str, str]:
    """What the trouble is, without the statements: they hold secrets."""
    cause = root_cause(trace)
    if any(sign in trace for sign in _OUTSIDE):
        return {
            "kind": "unavailable",
            "what": f"flink does not take the join: {cause}",
            "cure": "look at the JobManager's log",
        }
    if _NOT_STARTED in trace:
        return {
            "kind": "not_started",
            "what": f"flink cannot start the join: {cause}",
            "cure": "look at the JobManager's log",
        }
    return {
        "kind": "bug",
        "what": f"flink refuses the generated SQL: {cause}",
        "cure": "report the pipeline's `events`",
    }


if __name__ == "__main__":
    main()
