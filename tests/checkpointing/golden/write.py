"""Writes a small store of format 2; run once per format, never again for a format that was released.

Run as ``python -m tests.checkpointing.golden.write FOLDER``. What must be read back stands in ``expected.py``.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from pathlib import Path

from checkpointing.compact import compact
from checkpointing.control import ControlLog
from checkpointing.writer import Writer
from infra.clock import SystemClock
from infra.object_store import open_store
from infra.spec import Store
from tests.checkpointing.golden import expected


def write(folder: Path) -> None:
    """A claim, a delta with everything in it, a heartbeat, a delta with tombstones, small rows; a base, a decision."""
    store = open_store(Store(url=folder.resolve().as_uri()))
    writer = Writer.take_over(store, "golden", "golden-0", SystemClock())
    graph = writer.put_graph(expected.GRAPH, weights=tuple(expected.DENSE), labels=("click",))
    writer.commit(expected.first(graph))
    writer.heartbeat()
    writer.commit(expected.second())
    for number, precision in enumerate(expected.PRECISIONS):
        writer.commit(expected.small(number, precision))
    compact(store, "golden", 2, SystemClock(), part_bytes=400)
    ControlLog(store, "golden").append("promote", who="golden", why="golden", clock=SystemClock(), version=4)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
