"""The command line as a whole: quick help in panels, exit codes, JSON wherever a table is printed, completion."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import typer
from typer.testing import CliRunner, Result

from infra.errors import SpringtideError
from springtide.arrangement import EXIT_CODES, PANELS, name_of
from springtide.cli import app
from tests.infra.pipelines import GOOD, changed

HELP_SECONDS = 0.5
TRIES = 5
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/commands.md"
# They print no table: a stream of log lines, a file, one line on what was done, or nothing.
NO_TABLE = {
    *("init", "join", "learn", "serve", "dashboard", "demo", "alerts", "compact", "export", "copy"),
    *("rollback", "unpin", "promote", "pause", "resume", "revert-learner"),
}


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def commands() -> dict[str, typer.models.CommandInfo]:
    """Every command by all its words."""
    found = {name_of(each): each for each in app.registered_commands}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        found |= {f"{name_of(group)} {name_of(each)}": each for each in group.typer_instance.registered_commands}
    return found


def test_help_takes_less_than_half_a_second_of_the_processor() -> None:
    """By processor time, the least of several: how long a busy machine lets it wait is not its own."""
    spent = []
    for _ in range(TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = subprocess.run(
            [sys.executable, "-m", "springtide", "--help"], check=True, capture_output=True, text=True, timeout=60
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert all(panel in run.stdout for panel in PANELS)
    assert min(spent) < HELP_SECONDS, spent


def test_every_command_stands_in_one_panel() -> None:
    arranged = [name for names in PANELS.values() for name in names]
    registered = [*map(name_of, app.registered_commands), *map(name_of, app.registered_groups)]
    assert sorted(arranged) == sorted(registered) and len(set(arranged)) == len(arranged)


def test_every_command_tells_its_exit_codes_and_they_are_those_of_the_errors() -> None:
    assert {each.exit_code for each in SpringtideError.__subclasses__()} | {0, 1} == set(EXIT_CODES)
    for name in commands():
        told = " ".join(invoke(*name.split(), "--help").output.split())
        assert "Exit codes: 0 done; 1 done, and the answer is no" in told, name


def test_the_document_lists_the_exit_codes() -> None:
    rows = re.findall(r"^\| ([0-9]+) \| (.*?) \|", DOCUMENT.read_text(encoding="utf-8"), re.M)
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES


def test_wherever_a_table_is_printed_it_can_be_had_as_json() -> None:
    without = {
        name for name in commands() if "<text|json>" not in " ".join(invoke(*name.split(), "--help").output.split())
    }
    assert without == NO_TABLE


def test_check_tells_each_error_with_its_place_as_json(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(GOOD, encoding="utf-8")
    assert orjson.loads(invoke("check", str(file), "-o", "json").stdout) == {"valid": True, "errors": []}
    file.write_text(changed("  window: 10m", "  windw: 10m"), encoding="utf-8")
    result = invoke("check", str(file), "-o", "json")
    (error,) = orjson.loads(result.stdout)["errors"]
    assert result.exit_code == 2
    assert (error["line"], error["column"], error["text"]) == (17, 3, "join.windw: unknown key; nearest is `window`")
    absent = invoke("check", str(tmp_path / "absent.yaml"), "-o", "json")
    assert absent.exit_code == 2 and orjson.loads(absent.stdout)["errors"][0]["line"] is None


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("ver", {"verify", "versions"}),
        ("pro", {"probe", "promote"}),
        ("late ", {"list", "replay"}),
        ("check --o", {"--output"}),
    ],
)
def test_a_shell_completes_commands_and_options(typed: str, wanted: set[str]) -> None:
    words = f"springtide {typed}"
    environment = os.environ | {
        "_SPRINGTIDE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    program = Path(sys.executable).with_name("springtide")
    run = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert set(run.stdout.split()) >= wanted, run
