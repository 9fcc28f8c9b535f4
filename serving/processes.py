"""Keeps the processes of a replica up, one follower and its predictors: starts again what ends, and answers nobody.

It imports no TensorFlow: what is the first of all processes must be the last to fail.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.connection
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, Final, Literal

from infra.logs import logger
from infra.metrics import Metrics
from serving.board import Board
from serving.control_page import ControlPage
from serving.parts import Parts

# How soon a process that ended is started again: at once the first time, more slowly where it keeps ending.
SHORTEST_S: Final = 0.05
LONGEST_S: Final = 5.0
# One that has lived for so long has not failed at its start.
SETTLED_S: Final = 30.0
LOOK_EVERY_S: Final = 0.1
# Draining takes them up to four seconds; beyond that they are ended.
LEAVE_WITHIN_S: Final = 4.5

_log = logger()


@dataclass
class Watched:
    """A process that shall be up."""

    role: Literal["follower", "predictor"]
    name: str
    process: ForkServerProcess | None = None
    began: float = 0.0
    ended_ts: int | None = None
    failures: int = 0
    again_at: float = 0.0


class Processes:
    """The processes of one replica, for one thread."""

    def __init__(self, parts: Parts, listener: socket.socket, grpc_port: int | None, folder: Path) -> None:
        """Sets up; :meth:`run` starts them.

        Args:
            parts: The replica.
            listener: Where predictors take connections.
            grpc_port: Where they answer gRPC; None for none.
            folder: Empty and private; for their socket and their board.
        """
        self._parts = parts
        self._clock = parts.clock
        self._listener = listener
        self._grpc_port = grpc_port
        self._folder = folder
        self._metrics = Metrics("replica", clock=parts.clock)
        (folder / "board").mkdir()
        self._board = Board(folder / "board", "supervisor")
        self._control = ControlPage()
        self._path = str(folder / "follower")
        # Kept here, so that predictors which come while there is no follower wait for the next one.
        self._follower_listener = socket.socket(socket.AF_UNIX)
        self._follower_listener.bind(self._path)
        self._follower_listener.listen()
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["serving.preload"])
        count = parts.pipeline.serving.predictors
        self._cores = cores_of(sorted(os.sched_getaffinity(0)), count)
        self._watched = [
            Watched("follower", "follower"),
            *(Watched("predictor", f"predictor-{number}") for number in range(count)),
        ]

    def run(self, stop: threading.Event) -> None:
        """Keeps all of them up until ``stop`` is set, then lets them drain and leave."""
        self._board.post(self._metrics)
        try:
            while not stop.is_set():
                now = self._clock.monotonic()
                for one in self._watched:
                    if one.process is None and one.again_at <= now:
                        self._start(one)
                up = [one.process.sentinel for one in self._watched if one.process is not None]
                multiprocessing.connection.wait(up, LOOK_EVERY_S)
                for one in self._watched:
                    if one.process is not None and not one.process.is_alive() and not stop.is_set():
                        self._note_end(one)
            _log.info("replica_draining")
        finally:
            # The predictors have it, too, and close it once those who ask have been told to go elsewhere.
            self._listener.close()
            self._end()

    def _start(self, one: Watched) -> None:
        target, arguments = self._work(one)
        process = self._context.Process(target=target, args=arguments, name=one.name, daemon=True)
        one.began = self._clock.monotonic()
        try:
            process.start()
        except (OSError, EOFError) as error:
            # Such as where the server that they are forked from has just ended; the next attempt starts another.
            self._put_off(one, f"not started: {error}")
            return
        one.process = process
        if one.ended_ts is not None:
            one.ended_ts = None
            self._tell()

    def _work(self, one: Watched) -> tuple[Any, tuple[Any, ...]]:
        if one.role == "follower":
            return run_follower, (self._parts, self._follower_listener, self._control, self._folder / "board")
        number = int(one.name.rsplit("-", 1)[1])
        place = (number, self._cores[number], self._path, self._folder / "board", self._grpc_port)
        return run_predictor, (self._parts, place, self._listener, self._control)

    def _note_end(self, one: Watched) -> None:
        process = one.process
        if process is None:
            return
        if process.pid is not None:
            self._board.fold(one.role, process.pid)
        # A process that is not watched any more, as where only its parent died, leaves by itself.
        code = process.exitcode
        process.close()
        one.process = None
        self._put_off(one, f"exit code {code}")

    def _put_off(self, one: Watched, reason: str) -> None:
        """Notes that a process is not up, and when it is to be started again."""
        now = self._clock.monotonic()
        one.failures = 0 if now - one.began > SETTLED_S else one.failures + 1
        one.again_at = now + min(LONGEST_S, SHORTEST_S * 2.0**one.failures)
        one.ended_ts = self._clock.now_ms()
        _log.error("replica_process_ended", process=one.name, reason=reason)
        self._metrics.inc("springtide_replica_restarts_total", process=one.role)
        self._tell()

    def _tell(self) -> None:
        follower = self._watched[0]
        self._board.post(self._metrics, {"follower_ended_ts": follower.ended_ts})

    def _end(self) -> None:
        processes = [one.process for one in self._watched if one.process is not None]
        for process in processes:
            process.terminate()
        deadline = self._clock.monotonic() + LEAVE_WITHIN_S
        for process in processes:
            process.join(max(0.0, deadline - self._clock.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
        self._follower_listener.close()


def run_follower(*arguments: Any) -> None:
    """The follower's work, in its own process."""
    from serving.follower_process import follow

    follow(*arguments)


def run_predictor(parts: Parts, place: tuple[Any, ...], *rest: Any) -> None:
    """A predictor's work, in its own process."""
    from serving.predictor_process import Place, predict

    predict(parts, Place(*place), *rest)


def cores_of(cores: Sequence[int], predictors: int) -> list[frozenset[int]]:
    """The cores of each predictor, as evenly as can be; empty, for all of them, where there is one predictor."""
    if predictors == 1:
        return [frozenset()]
    if predictors > len(cores):
        return [frozenset({cores[number % len(cores)]}) for number in range(predictors)]
    bounds = [number * len(cores) // predictors for number in range(predictors + 1)]
    return [frozenset(cores[begin:end]) for begin, end in itertools.pairwise(bounds)]
