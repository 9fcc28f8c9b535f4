"""The shell commands of the documents, and what is said of those that no test runs."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
TUTORIAL: Final = ROOT / "docs/tutorial.md"
NOT_RUN: Final = ROOT / "docs/not_run.txt"
# A record of what was done once, not of what to do.
RECORDS: Final = {"docs/LOG.md"}
FENCE: Final = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.M | re.S)
SHELL: Final = {"sh", "bash", "shell", "console"}


@dataclass(frozen=True)
class Command:
    """One command line.

    Attributes:
        document: The file, below the root.
        line: As it stands there, joined where it was broken, without its comment.
    """

    document: str
    line: str

    @property
    def words(self) -> list[str]:
        """As a shell splits it; `springtide` without its environment's folder in front."""
        words = shlex.split(self.line)
        return ["springtide" if words[0].endswith("/bin/springtide") else words[0], *words[1:]] if words else []


def documents() -> list[Path]:
    """Every document that tells somebody what to do."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [ROOT / name for name in sorted(set(listing) - RECORDS) if (ROOT / name).is_file()]


def blocks(path: Path) -> Iterator[tuple[str, str]]:
    """Language and text of each fenced block, without the indentation of the list that it stands in."""
    for indentation, language, text in FENCE.findall(path.read_text(encoding="utf-8")):
        yield language, re.sub(rf"^{indentation}", "", text, flags=re.M)


def command_lines(text: str) -> Iterator[str]:
    """The commands of a block."""
    for line in text.replace("\\\n", " ").splitlines():
        bare = " ".join(re.sub(r"(^|\s)#.*$", "", line).split())
        if bare:
            yield bare


def commands() -> list[Command]:
    """Every command of every document, in order."""
    return [
        Command(str(path.relative_to(ROOT)), line)
        for path in documents()
        for language, text in blocks(path)
        if language in SHELL
        for line in command_lines(text)
    ]


def of_tutorial() -> set[str]:
    """What test_tutorial.py runs, word by word."""
    return {each.line for each in commands() if each.document == str(TUTORIAL.relative_to(ROOT))}


def not_run() -> dict[str, str]:
    """Command -> why no test runs it as it stands."""
    found: dict[str, str] = {}
    reason = ""
    for line in NOT_RUN.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            reason = line.removeprefix("## ")
        elif line and not line.startswith("#"):
            assert reason and line not in found, line
            found[line] = reason
    return found
