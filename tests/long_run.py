"""Writes down when a long test last ran whole, on which commit, with which seeds; runs nothing itself."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import fcntl
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
    about = {"cases": cases, "commit": _commit(), "ended": iso(SystemClock().now_ms())}
    # Several blocks may end at once, in processes of their own.
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        runs = orjson.loads(file.read() or b"{}")
        runs.setdefault(what, {})[str(first_seed)] = about
        file.truncate(0)
        file.write(orjson.dumps(runs, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))


def _commit() -> str:
    """The commit that ran, marked where the tree differs from it elsewhere than in the record itself."""
    name = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", f":(exclude){RECORD.relative_to(ROOT)}")
    return f"{name or 'unknown'}{'-dirty' if changed else ''}"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
