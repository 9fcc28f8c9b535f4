"""`springtide plan` says what the learner will do, and its exit code whether anything is lost."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.feature_spec import state_outline
from infra.pipeline_file import dump_pipeline
from learner.change import change
from springtide.cli import app
from springtide.processes import moment
from tests.learner.messages import PIPELINE, features, tables
from tests.learner.messages import pipeline as changed

OLD = changed()
PURCHASES = {"name": "buy", "topic": "buys", "key": "id", "time": "at"}


def plan(tmp_path: Path, *options: str, **parts: Any) -> tuple[int, str]:
    """Exit code and output of the command."""
    for name, pipeline in (("old", OLD), ("new", changed(**parts))):
        (tmp_path / f"{name}.yaml").write_text(dump_pipeline(pipeline))
    result = CliRunner().invoke(app, ["plan", str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"), *options])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("parts", "code", "told"),
    [
        ({}, 0, "nothing changes"),
        ({"gate": {"norm": 5}}, 0, "kept  gate  norm  later versions are judged by it"),
        (
            {"tables": tables(item={"optimizer": {"learning_rate": 0.1}})},
            0,
            "kept  table `item`  optimizer: learning_rate",
        ),
        ({"join": {"window": "20m"}}, 0, "`springtide join --upgrade` replaces the running join without a gap"),
        ({"tables": [table | {"dim": 12} for table in PIPELINE["tables"]]}, 0, "widened  table `user`   dim 8 to 12"),
        ({"tables": [table | {"dim": 4} for table in PIPELINE["tables"]]}, 1, "fresh    table `user`   dim 8 to 4"),
        ({"features": features(user={"vocabulary": ["a"]})}, 1, "its ids have other keys"),
        ({"store": {"url": "memory://elsewhere"}}, 1, "another store holds no version"),
        ({"name": "market"}, 2, "refused  name  shop to market"),
        (
            {"events": PIPELINE["events"] | {"feedback": [*PIPELINE["events"]["feedback"], PURCHASES]}},
            2,
            "refused",
        ),
    ],
)
def test_each_change_has_a_line_and_a_code(tmp_path: Path, parts: dict[str, Any], code: int, told: str) -> None:
    if "events" in parts:
        parts = parts | {"model": {"name": "wdl"}}
    assert plan(tmp_path, **parts)[0] == code
    assert told in plan(tmp_path, **parts)[1]


def test_json_has_the_rules_that_the_learner_obeys(tmp_path: Path) -> None:
    parts: dict[str, Any] = {"model": {"name": "dcnv2", "hidden": [8]}, "tables": tables(item={"admission": {}})}
    code, output = plan(tmp_path, "-o", "json", **parts)
    document = json.loads(output)
    assert (code, document["exit_code"], document["model"]) == (1, 1, "shop")
    lines = change(state_outline(OLD), state_outline(changed(**parts))).lines
    rules = [(line["part"], line["rule"]) for line in document["changes"]]
    assert rules == [(line.part, line.rule) for line in lines] == [("dense weights", "fresh")]


def test_a_moment_is_told_in_two_ways() -> None:
    assert moment("1790000000000") == 1_790_000_000_000
    assert moment("2026-09-21T14:13:20Z") == moment("2026-09-21T14:13:20") == 1_790_000_000_000
