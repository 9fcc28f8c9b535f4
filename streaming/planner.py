"""Has joins planned and submitted by a process of its own; must not know what the statements mean.

PyFlink needs a JVM of several hundred MiB only while a job is planned. The process for it is on a leash: where its
owner is killed it ends within a quarter of a second, and what it submits until then bears the same job id as the
owner's next try, which a cluster takes only once.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from infra.account import account
from infra.backoff import Stopped
from infra.clock import Clock
from infra.errors import Bug, Invalid, SpringtideError, Unavailable
from infra.local.jars import SET_UP, event_decoder
from infra.local.process import leashed
from streaming.flink_rest import FlinkRest
from streaming.sql import JoinPlan
from streaming.submit import Request

# Planning takes 5 to 10 s on an idle machine, most of it for starting the JVM.
TIMEOUT_S: Final = 180.0
_POLL_S: Final = 0.1
# The client plans one job and ends: little heap, and no time for a second compiler.
_JVM_OPTIONS: Final = "-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
_CONNECTOR: Final = "flink-sql-connector-kafka"
_QUIET: Final = "status = error\nrootLogger.level = off\n"


class NotStarted(Unavailable):
    """The cluster took the job, which then failed for good before it ran."""


class Planner:
    """Plans and submits jobs, one after the other, in one short-lived process; not safe for several threads at once.

    Args:
        connector: The Kafka SQL connector's jar, for planning, and for a cluster that has none of its own.
        clock: For deadlines.
        stop: Ends an attempt early when set.
    """

    def __init__(self, connector: Path, *, clock: Clock, stop: threading.Event | None = None) -> None:
        self._connector = connector
        self._clock = clock
        self._stop = stop or threading.Event()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0

    def submit(
        self, plan: JoinPlan, cluster: FlinkRest, *, recover_from: str | None = None, job_id: str | None = None
    ) -> str:
        """Plans and submits; returns the job's id as soon as the cluster has accepted it.

        Args:
            plan: What to submit.
            cluster: Where to.
            recover_from: Path of a checkpoint of the same plan to start from; None starts where the plan says.
            job_id: 32 hexadecimal digits, which the cluster takes once; None lets Flink choose.

        Raises:
            Unavailable: The cluster does not answer or accept, or planning took longer than 180 s.
            NotStarted: The job failed before it ran; where it was to recover, ``recover_from`` may be at fault.
            Invalid: The connector's jar or PyFlink is missing.
            Bug: Flink refuses the generated SQL.
            Stopped: ``stop`` was set.
        """
        ship = not cluster.has_on_class_path(_CONNECTOR)
        return self._ask(plan, rest=cluster.address, ship_connector=ship, recover_from=recover_from, job_id=job_id)

    def explain(self, plan: JoinPlan) -> str:
        """Flink's optimised plan as text, without a cluster.

        Raises:
            Bug: Flink refuses the generated SQL.
        """
        return self._ask(plan, rest=None, ship_connector=False, recover_from=None, job_id=None)

    def close(self) -> None:
        """Ends the process and its JVM; safe to call twice."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGUSR1)
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self, plan: JoinPlan, *, rest: str | None, ship_connector: bool, recover_from: str | None, job_id: str | None
    ) -> str:
        process, folder = self._started()
        self._asked += 1
        answer = folder / f"answer-{self._asked}.json"
        request = Request(
            rest=rest,
            job_name=plan.job_name,
            definitions=plan.definitions,
            insert=plan.insert,
            settings=dict(plan.settings),
            connector=str(self._connector.absolute()),
            ship_connector=ship_connector,
            decoder=tuple(str(jar.absolute()) for jar in event_decoder(plan.encodings)),
            recover_from=recover_from,
            job_id=job_id,
            answer=str(answer),
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, which is told below
            process.stdin.write(json.dumps(asdict(request)).encode() + b"\n")
            process.stdin.flush()
        self._await(process, answer, folder)
        return _read(json.loads(answer.read_text("utf-8")), rest or "")

    def _await(self, process: subprocess.Popen[bytes], answer: Path, folder: Path) -> None:
        deadline = self._clock.monotonic() + TIMEOUT_S
        while not answer.exists():
            if process.poll() is not None:
                said = (folder / "said").read_text("utf-8", errors="replace")
                self.close()
                raise Bug(f"streaming.submit ended without an answer: {said[-500:]}")
            if self._clock.wait(self._stop, _POLL_S):
                self.close()
                raise Stopped("submit the join")
            if self._clock.monotonic() > deadline:
                self.close()
                raise Unavailable(f"flink: planning the join took longer than {TIMEOUT_S:.0f} s")

    def _started(self) -> tuple[subprocess.Popen[bytes], Path]:
        jars = (self._connector, *event_decoder())
        for jar in jars:
            if not jar.is_file():
                raise Invalid(f"a jar for Flink is missing: {jar.name}", cure=SET_UP)
        if self._process is not None and self._folder is not None:
            return self._process, Path(self._folder.name)
        self._folder = tempfile.TemporaryDirectory(prefix="springtide-submit-")
        folder = Path(self._folder.name)
        (folder / "log4j-cli.properties").write_text(_QUIET, encoding="utf-8")
        environment = {
            **os.environ,
            # PyFlink asks for the user's name, and ends where a container's user has none.
            "LOGNAME": account(),
            "JVM_ARGS": _JVM_OPTIONS,
            "FLINK_LOG_DIR": str(folder),
            "LOG4J_PROPERTIES": str(folder / "log4j-cli.properties"),
            # The client's class path; nothing that stands here travels to the cluster.
            "HADOOP_CLASSPATH": os.pathsep.join(str(jar.absolute()) for jar in jars),
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
            "PYTHONWARNINGS": "ignore",
        }
        with (folder / "said").open("w+b") as said:
            self._process = subprocess.Popen(
                leashed([sys.executable, "-m", "streaming.submit"]),
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )
        return self._process, folder


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
