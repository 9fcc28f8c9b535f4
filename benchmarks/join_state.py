"""What an impression takes in the join's state, packed in a checkpoint and on the heap; a part of `make bench-join`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess

from benchmarks.figures import Figure
from benchmarks.join_rig import CLICKED, CLOCK, beat, create_topics, fill, impression, pipeline, running, until, written
from infra.local.java import java_tool
from infra.local.stack import LocalStack
from streaming import sql
from streaming.flink_rest import FlinkRest
from streaming.planner import Planner

STATE_IMPRESSIONS = 50_000


def state(stack: LocalStack, planner: Planner) -> list[Figure]:
    """Inside its window, behind it, and behind both windows, where a repeat would still be told from a first one."""
    spec = pipeline("state", stack, idle_timeout="1s")
    create_topics(spec)
    begin = CLOCK.now_ms() - 2 * 3_600_000
    (worker,) = stack.flink.task_managers
    found: dict[str, tuple[float, float]] = {}
    with running(sql.plan(spec), spec, planner) as (cluster, job):
        settled(cluster, job)
        empty = live_bytes(worker.pid)

        def note(phase: str) -> None:
            packed, live = settled(cluster, job), live_bytes(worker.pid) - empty
            found[phase] = packed / STATE_IMPRESSIONS, live / STATE_IMPRESSIONS

        fill(spec, STATE_IMPRESSIONS, begin, 1)
        until(lambda: written(spec) >= STATE_IMPRESSIONS // CLICKED, "every click")
        note("per_impression_window")
        beat(spec, begin + spec.join.window.ms + STATE_IMPRESSIONS + 2 * spec.join.out_of_orderness.ms)
        until(lambda: written(spec) >= STATE_IMPRESSIONS, "every negative")
        note("per_impression_correction_window")
        beat(spec, begin + spec.join.correction_window.ms + STATE_IMPRESSIONS + 3 * spec.join.out_of_orderness.ms)
        # Nothing is written when both joins let go: the second checkpoint from now on began when they had.
        settled(cluster, job)
        note("per_key_remembered")
    load = f"{STATE_IMPRESSIONS:,} impressions of {len(impression(1, begin))} bytes of JSON"
    return [
        figure
        for phase, (packed, live) in found.items()
        for figure in (
            Figure(f"state_bytes_{phase}", packed, "B", None, "<=", f"{load}; in a checkpoint, packed"),
            Figure(f"heap_bytes_{phase}", live, "B", None, "<=", f"{load}; live on the heap"),
        )
    ]


def live_bytes(worker: int) -> float:
    """Bytes that live on the heap of a Java process, after a collection."""
    command = [java_tool("jcmd"), str(worker), "GC.class_histogram"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(told.stdout.splitlines()[-1].split()[2])


def settled(cluster: FlinkRest, job: str) -> float:
    """The size of a checkpoint that began after this call."""
    now = CLOCK.now_ms()

    def size() -> int | None:
        return cluster.state_bytes(job, since_ms=now)

    until(lambda: size() is not None, "a checkpoint")
    return float(size() or 0)
