"""Over processes and threads, every lookup and every prediction is of one version, whole, while versions come."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import multiprocessing
import socket
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from infra.clock import SystemClock
from serving.arrivals import Arrivals
from serving.control_page import ControlPage
from serving.publishing import Publishing
from serving.receiving import Receiving
from serving.snapshot import Readers, Switch
from tests.serving.model import arrow
from tests.serving.test_switch import ENCODER, make_graph, make_rows, make_tables, make_version

CLOCK = SystemClock()
KEYS = 2000
PROCESSES = 2
THREADS = 3


def read(path: str, control: ControlPage, lookups: int, report: Connection) -> None:
    """A predictor that reads with several threads until it has looked up so many keys; reports what it saw."""
    tables = make_tables(KEYS)
    readers = Readers(tables)
    versions = Receiving(Arrivals(ENCODER.features, tables), control, path, CLOCK)
    stop = threading.Event()
    receiver = threading.Thread(target=versions.run, args=(stop,))
    receiver.start()
    batch = ENCODER.encode(arrow({"item": list(range(KEYS)), "price": [0.0] * KEYS}))
    torn: list[str] = []
    seen: set[int] = set()

    def ask() -> None:
        last = 0
        for _ in range(lookups // (2 * KEYS * THREADS) + 1):
            while not versions.kept:
                CLOCK.sleep(0.01)
            current = versions.read()
            number = current.version.number
            with readers.reader() as reader:
                rows = reader.lookup(current.version.statistics.scale(batch), current.rows)
                values = current.version.program.predict(rows)
            if not (values == number).all() or number < last:
                torn.append(f"version {number} after {last} answered {np.unique(values)}")
                return
            last = number
            seen.add(number)

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.send((torn, len(seen)))
    stop.set()
    receiver.join()


def check(folder: Path, lookups: int) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["serving.preload"])
    control, stop = ControlPage(), threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "follower"))
        listener.listen()
        publishing = Publishing(listener, control, 2, CLOCK)
        greeter = threading.Thread(target=publishing.greet, args=(stop,))
        greeter.start()
        ends = [context.Pipe(duplex=False) for _ in range(PROCESSES)]
        processes = [
            context.Process(target=read, args=(str(folder / "follower"), control, lookups // PROCESSES, theirs))
            for _, theirs in ends
        ]
        for process in processes:
            process.start()
        graph, switch, number = make_graph(), Switch(make_tables(KEYS), 2, publishing.announce), 0
        while any(process.exitcode is None for process in processes):
            number += 1
            tables = ("first", "second")
            # Every version changes every row and weight; some replace all, some are compacted.
            rows = [make_rows(table, number, range(KEYS)) for table in tables]
            switch.publish(make_version(graph, number), rows, replaces_all=number % 10 == 1)
            if number % 3:
                switch.settle()
        stop.set()
        greeter.join()
        publishing.close()
    for (ours, theirs), process in zip(ends, processes, strict=True):
        theirs.close()
        with ours:
            torn, seen = ours.recv()
        assert process.exitcode == 0
        process.close()
        assert torn == []
        assert seen > 5


def test_no_read_is_torn_over_processes(tmp_path: Path) -> None:
    check(tmp_path, 4_000_000)


@pytest.mark.long
def test_no_read_in_a_hundred_million_is_torn(tmp_path: Path) -> None:
    check(tmp_path, 100_000_000)
