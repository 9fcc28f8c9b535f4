"""What each process of a running loop has used of the machine; must not know what is measured by it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from infra.local.memory import tree_mebibytes
from infra.local.process import Process
from infra.local.stack import LocalStack
from springtide.loop import Loop


class Watched:
    """The processes of the loop by what they are."""

    def __init__(self, stack: LocalStack, loop: Loop) -> None:
        self._processes: dict[str, Sequence[Process]] = {
            "kafka": [stack.kafka.process],
            "s3": [stack.s3.process],
            "flink": stack.flink.processes,
            "join": [loop.processes["join"]],
            "learner": [loop.processes["learner"]],
            "compactor": [loop.processes["compactor"]],
            "replica": [loop.processes[name] for name in loop.replicas],
            "page": [loop.processes["page"]],
        }
        self.replicas = len(loop.replicas)

    def seconds(self) -> dict[str, float]:
        """Processor seconds so far; of replicas, of one."""
        found = {}
        for name, processes in self._processes.items():
            trees = [each for process in processes for each in _tree(process.pid)]
            times = [each.cpu_times() for each in trees]
            found[name] = sum(each.user + each.system for each in times)
        found["replica"] /= self.replicas
        return found

    def compiling_seconds(self) -> float:
        """Processor seconds of the Java compilers so far; what they compile no longer interprets, and runs on."""
        processes = itertools.chain(self._processes["kafka"], self._processes["flink"])
        return sum(_compiling_seconds(process.pid) for process in processes)

    def mebibytes(self) -> dict[str, float]:
        """MiB now; of replicas, of one."""
        found = {name: sum(tree_mebibytes(each.pid) for each in group) for name, group in self._processes.items()}
        found["replica"] /= self.replicas
        return found


def _tree(pid: int) -> list[psutil.Process]:
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def _compiling_seconds(pid: int) -> float:
    """Of the threads of one process whose names are the compilers'."""
    ticks = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # they come and go
            name, _, figures = (thread / "stat").read_text(encoding="utf-8").partition("(")[2].rpartition(")")
            if name.startswith(("C1 Compiler", "C2 Compiler")):
                user, system = figures.split()[11:13]
                ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")
