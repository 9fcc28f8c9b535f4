"""What each process of a running loop has used of the machine; must not know what is measured by it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

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

    def mebibytes(self) -> dict[str, float]:
        """MiB now; of replicas, of one."""
        found = {name: sum(tree_mebibytes(each.pid) for each in group) for name, group in self._processes.items()}
        found["replica"] /= self.replicas
        return found


def _tree(pid: int) -> list[psutil.Process]:
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]
