"""Holds that the peak counts every process of the tree, and shared pages once."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from pathlib import Path

from infra.local.memory import PeakMemory, tree_mebibytes
from infra.local.process import Process

HOLD_100_MIB = "import sys; held = bytearray(b'x') * (100 << 20); print('held', flush=True); sys.stdin.read()"
# The child forks: parent and child share the 100 MiB, which must count once.
FORK = HOLD_100_MIB.replace("print", "import os, signal; pid = os.fork(); pid and print").replace(
    "sys.stdin.read()", "signal.pause()"
)


def test_the_peak_holds_what_a_child_held(tmp_path: Path) -> None:
    child = Process("child", [sys.executable, "-c", FORK], tmp_path / "log")
    child.start()
    root = child.leash_pid  # this process itself gives memory back whenever it likes
    with PeakMemory(root, interval_seconds=0.05) as memory:
        child.wait_until_ready(lambda: child.last_lines() == ["held"], 20)
        during = tree_mebibytes(root)
        assert tree_mebibytes() > during
        child.wait_until_ready(lambda: memory.peak_mebibytes >= during - 5, 20)
        child.kill()
        assert tree_mebibytes(root) == 0.0
    assert 95 < during < 190
    assert memory.peak_mebibytes < during + 100
