"""Holds the documents to the code: the tree, the commands, the links; knows no room's inside."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_readme_tree_is_the_tree() -> None:
    rewritten = runpy.run_path(str(ROOT / "docs/tree.py"))["rewritten"]
    assert rewritten() == README, "run `make tree`"


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_every_link_of_the_readme_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z-]+)", README))))
def test_every_make_target_of_the_readme_exists(target: str) -> None:
    if target.startswith("bench-"):
        assert (ROOT / "benchmarks" / f"{target.removeprefix('bench-').replace('-', '_')}.py").is_file()
        assert re.search(r"^bench-%:", MAKEFILE, re.MULTILINE)
    else:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"springtide ([a-z]+)", README))))
def test_every_command_of_the_readme_exists(command: str) -> None:
    from springtide.cli import app

    names = {entry.name or (entry.callback and entry.callback.__name__) for entry in app.registered_commands}
    names |= {group.name for group in app.registered_groups}
    assert command in names


def test_ci_runs_the_readmes_test_command() -> None:
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    "text", re.findall(r"```yaml\n(name: .*?)```", (ROOT / "docs/formats.md").read_text("utf-8"), re.S)
)
def test_every_pipeline_of_the_documents_is_valid(text: str) -> None:
    from infra.pipeline_file import parse_pipeline

    assert parse_pipeline(text, "docs/formats.md").name == "clicks"
