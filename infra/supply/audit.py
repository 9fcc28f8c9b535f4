"""Asks for known weaknesses of every locked package; what could not be asked is never counted as safe.

``python -m infra.supply.audit`` is part of ``make check``. It ends with 1 where a weakness is known and not accepted,
and with 0 otherwise; only the words tell whether anything was checked.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = ROOT / "requirements.lock"
# Weaknesses that do not reach Springtide: `ID package reason`, one a line.
ACCEPTED: Final = Path(__file__).with_name("accepted.txt")
NAME: Final = "dependency audit"
TIMEOUT_S: Final = 300
SHOWN: Final = 3


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        asked: How many packages an advisory service answered for.
        unasked: Packages that it did not answer for, with its words.
        weak: `package version: id (fixed in …)` of every weakness that is not accepted.
    """

    asked: int
    unasked: dict[str, str]
    weak: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The line for people."""
        if self.weak:
            told = "\n".join(f"  {one}" for one in self.weak)
            cure = "cure: raise the version in pyproject.toml and lock again, or name why it does not reach us in"
            return f"{NAME}: FAILED, {len(self.weak)} known\n{told}\n  {cure} {ACCEPTED.relative_to(ROOT)}"
        if self.unasked:
            names = ", ".join(sorted(self.unasked)[:SHOWN])
            why = next(iter(self.unasked.values()))
            return f"{NAME}: not checked, {len(self.unasked)} packages ({names}, …) had no answer: {why}"
        return f"{NAME}: {self.asked} packages, no weakness known"


def accepted() -> set[str]:
    """The ids of weaknesses that somebody has looked at."""
    lines = ACCEPTED.read_text(encoding="utf-8").splitlines()
    return {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}


def read(answer: dict[str, Any], waived: set[str]) -> Audit:
    """What pip-audit's JSON says.

    Args:
        answer: Its output. A package that no service knew is in it with a `skip_reason`, and pip-audit calls that no
            weakness and ends with 0.
        waived: Ids that do not count.
    """
    unasked = {each["name"]: each["skip_reason"] for each in answer["dependencies"] if "skip_reason" in each}
    weak = []
    for each in answer["dependencies"]:
        for found in each.get("vulns", ()):
            if not waived & {found["id"], *found.get("aliases", ())}:
                fixed = ", ".join(found.get("fix_versions", ())) or "no version yet"
                weak.append(f"{each['name']} {each['version']}: {found['id']} (fixed in {fixed})")
    return Audit(len(answer["dependencies"]) - len(unasked), unasked, tuple(weak))


def audit(lock: Path = LOCK) -> Audit:
    """Asks about every package of ``lock``."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--disable-pip", "--require-hashes"]
    command += ["-f", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return Audit(0, {"all": f"nobody answered within {TIMEOUT_S} s"}, ())
    except json.JSONDecodeError:
        return Audit(0, {"all": (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]}, ())
    return read(answer, accepted())


def main() -> int:
    """Prints the verdict; 1 where a weakness is known."""
    found = audit()
    sys.stdout.write(f"{found.verdict}\n")
    return 1 if found.weak else 0


if __name__ == "__main__":
    sys.exit(main())
