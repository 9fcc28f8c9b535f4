"""How a process of a replica begins and learns that it is to end; knows no role."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from infra.clock import Clock
from infra.logs import configure
from infra.metrics import Metrics
from serving.tensorflow_runtime import set_threads

POST_EVERY_S: Final = 1.0
# Reading it walks the page tables of everything that is mapped.
MEMORY_EVERY: Final = 30
KIB: Final = 1024


def begin(model: str, name: str) -> threading.Event:
    """Sets up logs, signals and TensorFlow; returns the event that says to leave.

    It is set by SIGTERM, and when nobody watches over this process any more; where who did was killed, it ends at once.
    """
    configure("serving", model)
    # As `ps` and `top` show it.
    Path("/proc/self/comm").write_text(name, encoding="ascii")
    stop = threading.Event()

    def leave(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, leave)
    # Ctrl-C reaches all processes of a terminal; who started this one says what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def watch() -> None:
            multiprocessing.connection.wait([sentinel])
            if not _lives(parent.pid):
                # Killed: whoever starts the replica again wants its port now.
                os._exit(1)
            stop.set()

        threading.Thread(target=watch, name="parent", daemon=True).start()
    set_threads()
    return stop


def _lives(process: int | None) -> bool:
    try:
        os.kill(process or 0, 0)
    except ProcessLookupError:
        return False
    return True


def settle_memory() -> None:
    """What is there now stays for good; walking it in every full collection would pause requests."""
    gc.collect()
    gc.freeze()


def keep_posting(post: Callable[[], None], name: str, metrics: Metrics, clock: Clock, stop: threading.Event) -> None:
    """Calls ``post`` every second until ``stop`` is set, with the figures of this process's memory beside it."""
    faults = 0
    turn = 0
    while not stop.is_set():
        if turn % MEMORY_EVERY == 0:
            metrics.set("springtide_replica_private_bytes", private_bytes(), process=name)
        turn += 1
        now = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        metrics.inc("springtide_replica_major_faults_total", now - faults, process=name)
        faults = now
        post()
        clock.wait(stop, POST_EVERY_S)


def private_bytes(process: int | str = "self") -> int:
    """Bytes of memory that no other process shares with this one."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * KIB for line in lines if line.startswith("Private_"))
