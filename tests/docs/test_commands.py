"""Every command of the documents exists with its options, and is run by a test or named with the reason why not."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from typing import Any

import pytest
import typer

from springtide.cli import app
from tests.docs.documents import ROOT, SHELL, Command, blocks, commands, documents, not_run, of_tutorial
from tests.docs.offline import runs_here

COMMANDS = commands()
LOOKS_LIKE_SHELL = re.compile(
    r"^(\$ |springtide [a-z]|make [a-z]|\.venv/|curl |helm |kubectl |pip |git |docker )", re.M
)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LINES = sorted({each.line: each for each in COMMANDS}.values(), key=lambda each: each.line)


def named(start: str) -> list[Command]:
    return [each for each in LINES if each.words[:1] == [start]]


def parse(words: list[str]) -> None:
    """Holds a command line to the real parser, and calls nothing.

    Raises:
        Exception: The parser's own, where a command or an option does not exist or a value does not fit.
    """
    command: Any = typer.main.get_command(app)
    name, rest = "springtide", words
    while getattr(command, "commands", None) and rest and rest[0] in command.commands:
        command, name, rest = command.commands[rest[0]], rest[0], rest[1:]
    if rest in (["--help"], ["--install-completion"]):
        return
    assert not getattr(command, "commands", None), f"no such command: {' '.join(words)}"
    command.make_context(name, list(rest))


@pytest.mark.parametrize("command", named("springtide"), ids=lambda each: each.line)
def test_the_command_and_its_options_exist(command: Command) -> None:
    parse(command.words[1:])


@pytest.mark.parametrize("wrong", ["springtide versoins a.yaml", "springtide probe --cuont 3"])
def test_a_command_that_does_not_exist_is_found(wrong: str) -> None:
    with pytest.raises((Exception, SystemExit)):
        parse(Command("", wrong).words[1:])


@pytest.mark.parametrize("command", named("make"), ids=lambda each: each.line)
def test_the_make_target_exists(command: Command) -> None:
    target = command.words[1]
    if target.startswith("bench-"):
        assert (ROOT / "benchmarks" / f"{target.removeprefix('bench-').replace('-', '_')}.py").is_file()
    else:
        assert re.search(rf"^{target}:", MAKEFILE, re.M)


def test_every_command_is_run_by_a_test_or_named_with_a_reason() -> None:
    told, tutorial = not_run(), of_tutorial()
    silent = [
        f"{each.document}: {each.line}"
        for each in COMMANDS
        if not runs_here(each.words) and each.line not in tutorial and each.line not in told
    ]
    assert silent == [], "let a test run it, or name it with the reason in docs/not_run.txt"


def test_the_list_names_only_what_stands_in_the_documents_and_is_not_run() -> None:
    stands = {each.line for each in COMMANDS}
    run = {each.line for each in COMMANDS if runs_here(each.words)} | of_tutorial()
    assert [line for line in not_run() if line not in stands or line in run] == []


def test_no_block_of_commands_goes_without_its_language() -> None:
    hidden = [
        f"{path.relative_to(ROOT)}: {text.splitlines()[0]}"
        for path in documents()
        for language, text in blocks(path)
        if language not in SHELL and language in {"", "text"} and LOOKS_LIKE_SHELL.match(text)
    ]
    assert hidden == []
