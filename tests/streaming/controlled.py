"""The process behind `springtide join` as a thread, and what tests ask of its traffic; must not know a test."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx

from infra.clock import SystemClock
from infra.errors import SpringtideError
from infra.local.stack import LocalStack
from infra.spec import Pipeline, Secret, Store
from streaming import sql
from streaming.checkpoint_folder import CheckpointFolder
from streaming.controller import run_join
from tests.asking import HTTP
from tests.streaming.events import Stream

CLOCK = SystemClock()
READY_S = 280.0
LEAVE_S = 25.0


class Running:
    """`run_join` in a thread, as the command runs it in a process."""

    def __init__(self, spec: Pipeline, **options: Any) -> None:
        self.error: SpringtideError | None = None
        self._stop = threading.Event()
        self._url: list[str] = []
        self._thread = threading.Thread(target=self._run, args=(spec, options), daemon=True)
        self._thread.start()

    def _run(self, spec: Pipeline, options: dict[str, Any]) -> None:
        try:
            run_join(spec, clock=CLOCK, stop=self._stop, listening=self._url.append, **options)
        except SpringtideError as error:
            self.error = error

    def get(self, path: str) -> httpx.Response:
        return HTTP.get(self._url[0] + path, timeout=5.0)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/status").json()
        return found

    def await_ready(self, wanted: bool = True) -> dict[str, Any]:
        await_true(lambda: bool(self._url), "an address", READY_S)

        def answered() -> bool:
            assert self._thread.is_alive(), self.error
            return (self.get("/readyz").status_code == httpx.codes.OK) == wanted

        await_true(answered, "ready" if wanted else "unready", READY_S)
        return self.status()

    def await_refusal(self, text: str) -> None:
        """Waits until it is not ready for the reason that has ``text`` in it."""
        await_true(lambda: bool(self._url), "an address", READY_S)
        await_true(lambda: text in self.get("/readyz").text, f"unready as {text}", READY_S)

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


def checkpoints(spec: Pipeline, stack: LocalStack) -> CheckpointFolder:
    """The checkpoints of the pipeline's join."""
    return CheckpointFolder(lambda: f"s3://{stack.s3.bucket}/flink/checkpoints", sql.plan(spec).folder, spec.store)


def await_checkpoints(folder: CheckpointFolder, count: int) -> None:
    """Waits for ``count`` more checkpoints."""

    def newest() -> float:
        return max((each.number for each in folder.kept() or []), default=0)

    wanted = newest() + count
    await_true(lambda: newest() >= wanted, f"{count} checkpoints", READY_S)


def bucket(stack: LocalStack) -> Store:
    """Where the local cluster keeps its checkpoints."""
    return Store(
        url=f"s3://{stack.s3.bucket}",
        endpoint=stack.s3.endpoint,
        region=stack.s3.region,
        access_key=Secret(value=stack.s3.access_key),
        secret_key=Secret(value=stack.s3.secret_key),
    )


def send(stream: Stream, numbers: range, **fields: Any) -> set[str]:
    """Impressions now, every fifth of them clicked; returns the verdicts they must have."""
    seconds = (CLOCK.now_ms() - stream.base_ms) / 1000
    for number in numbers:
        stream.impression(f"k{number}", seconds, **fields)
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
