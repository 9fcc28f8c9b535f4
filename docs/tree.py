"""Writes the README's tree, one line a file, from the files' own first lines; run by `make tree`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
ROOMS = (
    "springtide",
    "learner",
    "serving",
    "dashboard",
    "streaming",
    "checkpointing",
    "kernels",
    "infra",
    "benchmarks",
)
SOURCES = (".py", ".cpp", ".h", ".java", ".js", ".html", ".css")
BEGIN, END = "<!-- tree -->\n```\n", "```\n<!-- /tree -->"
FIRST_LINE = re.compile(r'^(?:"""|// ?|/\* ?|<!-- ?)(.*?)(?:"""|\*/|-->)?$')
WIDTH = 40


def first_line(path: Path) -> str:
    """What a file says of itself: its first line without comment signs, up to what it must not know."""
    for line in path.read_text(encoding="utf-8").splitlines()[:3]:
        if not line.startswith(("<!doctype", "<!DOCTYPE")) and (match := FIRST_LINE.match(line)):
            return match.group(1).split(";")[0].strip().rstrip(".")
    return ""


def tree() -> str:
    """The tree of every room, one line a file."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *ROOMS],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    names = sorted({name for name in listing if name.endswith(SOURCES) and ".min." not in name})
    lines: list[str] = []
    for room in ROOMS:
        own = [name for name in names if name.startswith(f"{room}/") and (ROOT / name).is_file()]
        about = first_line(ROOT / room / "__init__.py") if (ROOT / room / "__init__.py").is_file() else ""
        lines.append(f"{room + '/':<{WIDTH}} {about}".rstrip())
        lines.extend(
            f"  {name[len(room) + 1 :]:<{WIDTH - 2}} {first_line(ROOT / name)}".rstrip()
            for name in own
            if not name.endswith("__init__.py")
        )
    return "\n".join(lines) + "\n"


def rewritten() -> str:
    """The README with the tree as it is now."""
    text = README.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    return head + BEGIN + tree() + END + rest.split(END)[1]


if __name__ == "__main__":
    README.write_text(rewritten(), encoding="utf-8")
    sys.stdout.write("README.md: tree rewritten\n")
