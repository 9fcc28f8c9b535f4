"""Writes down when a long test last ran whole, on which commit, with which seeds; runs nothing itself."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
from pathlib import Path

import orjson

from infra.clock import SystemClock, iso

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "docs" / "last_long_run.json"


def record(what: str, first_seed: int, cases: int, *, path: Path = RECORD) -> None:
    """Call this at the end of a long test that found nothing; a failure leaves the run before it on record.

    Args:
        what: Name of the test.
        first_seed: Of this block.
        cases: How many it tried.
        path: The record.
    """
    runs = orjson.loads(path.read_bytes()) if path.exists() else {}
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    blocks = runs.setdefault(what, {})
    blocks[str(first_seed)] = {"cases": cases, "commit": commit or "unknown", "ended": iso(SystemClock().now_ms())}
    path.write_bytes(orjson.dumps(runs, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))
