"""The record of long runs keeps every block's last one."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import orjson

from tests.long_run import record


def test_blocks_stand_side_by_side_and_the_last_run_counts(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    for what, seed, cases in (("a", 1, 10), ("a", 2, 20), ("b", 1, 30), ("a", 1, 40)):
        record(what, seed, cases, path=path)
    runs = orjson.loads(path.read_bytes())
    assert {what: {seed: run["cases"] for seed, run in blocks.items()} for what, blocks in runs.items()} == {
        "a": {"1": 40, "2": 20},
        "b": {"1": 30},
    }
    assert all(run["commit"] and run["ended"].endswith("Z") for blocks in runs.values() for run in blocks.values())
