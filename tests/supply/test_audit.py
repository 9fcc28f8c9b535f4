"""A known weakness fails the audit; a package that nobody answered for is `not checked`, and never counts as safe."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.supply import audit as room
from infra.supply.audit import ACCEPTED, Audit, accepted, audit, read

WEAK = {"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["1.1"]}
SAFE = {"name": "a", "version": "1.0", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1.0)"}


def test_a_weakness_fails_and_names_what_to_do() -> None:
    found = read({"dependencies": [{"name": "a", "version": "1.0", "vulns": [WEAK]}]}, set())
    assert found.weak == ("a 1.0: PYSEC-1 (fixed in 1.1)",)
    assert "FAILED" in found.verdict and "accepted.txt" in found.verdict


@pytest.mark.parametrize("known", ["PYSEC-1", "CVE-2026-1"])
def test_an_accepted_weakness_does_not_count(known: str) -> None:
    assert read({"dependencies": [{"name": "a", "version": "1.0", "vulns": [WEAK]}]}, {known}).weak == ()


def test_what_was_skipped_is_not_checked_though_the_tool_calls_it_safe() -> None:
    found = read({"dependencies": [SAFE, SKIPPED]}, set())
    assert (found.asked, set(found.unasked)) == (1, {"b"})
    assert "not checked" in found.verdict and "no weakness" not in found.verdict


def test_only_when_all_were_asked_it_says_so() -> None:
    assert read({"dependencies": [SAFE]}, set()).verdict == "dependency audit: 1 packages, no weakness known"


@pytest.mark.parametrize("said", ["", "not JSON"])
def test_a_tool_that_fails_is_not_checked(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess[str]([], 1, stdout=said, stderr="requests.exceptions.ConnectionError: no route")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert "not checked" in audit().verdict and "no route" in audit().verdict


def test_it_ends_with_one_only_where_a_weakness_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, code in ((Audit(1, {}, ("a",)), 1), (Audit(0, {"a": "away"}, ()), 0), (Audit(1, {}, ()), 0)):
        monkeypatch.setattr(room, "audit", lambda found=found: found)
        assert room.main() == code


def test_every_accepted_weakness_says_why() -> None:
    lines = [line for line in ACCEPTED.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert all(len(line.split()) > 4 for line in lines) and len(lines) == len(accepted())


def test_make_check_asks(tmp_path: Path) -> None:
    makefile = (Path(room.ROOT) / "Makefile").read_text("utf-8")
    assert re.search(r"^check:.*\n(\t.*\n)*\t@\$\(PY\) -m infra.supply.audit\n", makefile, re.M)


@pytest.mark.long
def test_the_real_tool_answers_or_says_that_it_was_not_checked() -> None:
    done = subprocess.run([sys.executable, "-m", "infra.supply.audit"], capture_output=True, text=True, check=False)
    assert re.match(
        r"dependency audit: (\d+ packages, no weakness known|not checked, \d+ packages|FAILED)", done.stdout
    )
    assert json.dumps(done.returncode) == ("1" if "FAILED" in done.stdout else "0")
