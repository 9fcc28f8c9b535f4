"""Runs every command of the documents that asks no server, as it stands, on a store on disk."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from springtide.cli import app
from tests.docs.documents import Command, commands
from tests.docs.offline import ANSWERS, arguments, runs_here
from tests.springtide.test_version_commands import Home

HERE = sorted({each.line: each for each in commands() if runs_here(each.words)}.values(), key=lambda each: each.line)


@pytest.mark.parametrize("command", HERE, ids=lambda each: each.line)
def test_it_does_what_it_should(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.pipeline("other.yaml", "elsewhere")
    home.pipeline("mine.yaml", "mine")
    demo = tmp_path / ".springtide/demo/pipeline.yaml"
    demo.parent.mkdir(parents=True)
    demo.write_bytes(home.file.read_bytes())
    monkeypatch.chdir(tmp_path)
    words = arguments(command.words)
    if words[0] == "unpin":
        home.run("rollback", "3", "pipeline.yaml", "--why", "first")
    if words[0] in {"resume", "decisions"}:
        home.run("pause", "pipeline.yaml", "--why", "first")
    done = CliRunner().invoke(app, words)
    assert done.exit_code in ANSWERS, done.output
    assert done.output.strip(), "it says nothing"
