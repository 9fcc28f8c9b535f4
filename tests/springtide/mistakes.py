"""The table of typical mistakes as the documents have it, and how what a command says is held against a row."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from springtide.cli import app

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/mistakes.md"
_ROW = re.compile(r"^\| ([0-9]+) \| (.+?) \| `([a-z -]+)` \| `` (.+?) `` \| ([0-9]+) \|$", re.M)


@dataclass(frozen=True)
class Row:
    """One row: the mistake, by which command it is met, what that says (… stands for anything), and its exit code."""

    number: int
    mistake: str
    command: str
    message: str
    code: int


@dataclass(frozen=True)
class Said:
    """What a command says, on both outputs, and how it ends."""

    output: str
    exit_code: int


def table() -> dict[int, Row]:
    """The rows by their number."""
    found = {}
    for number, mistake, command, message, code in _ROW.findall(DOCUMENT.read_text(encoding="utf-8")):
        found[int(number)] = Row(int(number), mistake, command, message, int(code))
    return found


def call(*words: str) -> Said:
    """Runs a command in this process."""
    result = CliRunner().invoke(app, list(words))
    return Said(result.output, result.exit_code)


def assert_said(row: Row, result: Said) -> None:
    """The command says what the row has, ends with its code, and shows no trace."""
    said = " ".join(result.output.split())
    assert "Traceback" not in said, result.output
    pattern = ".*?".join(re.escape(" ".join(part.split())) for part in row.message.split("…"))
    assert re.search(pattern, said), f"{row.number}: {result.output}"
    assert result.exit_code == row.code, f"{row.number}: exit code {result.exit_code}: {result.output}"
