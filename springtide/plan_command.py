"""What `springtide plan` prints: what becomes of a live model when its pipeline changes, part by part, and why."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson
import typer

from infra.errors import Invalid
from infra.feature_spec import state_outline
from infra.pipeline_file import load_pipeline
from infra.spec import Optimizer, Pipeline
from learner.change import Line, change
from springtide.wiring import table_settings
from streaming import sql

# What no state is made of, with what happens at the next start; what is not named here goes into the state or the join.
_NEXT_START: Final = {
    "learner": "the learner has it from its next start on",
    "gate": "later versions are judged by it",
    "serving": "replicas have it from their next start on",
    "dashboard": "the page has it from its next start on",
    "probe": "probes have it from the next one on",
    "slo": "the page and alerts have it from their next start on",
    "control": "the join's controller has it from its next start on",
}
_EXIT_CODES: Final = {"kept": 0, "widened": 0, "fresh": 1, "dropped": 1, "refused": Invalid.exit_code}


def run_plan(old_path: Path, new_path: Path, *, as_json: bool) -> int:
    """Prints what becomes of a model when it goes from one pipeline.yaml to another.

    Args:
        old_path: What it was made by.
        new_path: What it is to go on by.
        as_json: Print JSON instead of a table.

    Returns:
        0 where all that was learned goes on; 1 where some of it begins anew or ends; 2 where the change is refused.

    Raises:
        Invalid: One of the files is no pipeline.
    """
    old, new = load_pipeline(old_path), load_pipeline(new_path)
    for each in (old, new):
        table_settings(each)
    lines = [*_line_of_versions(old, new), *change(state_outline(old), state_outline(new)).lines, *_beside(old, new)]
    code = max((_EXIT_CODES[line.rule] for line in lines), default=0)
    if as_json:
        document = {"model": new.name, "exit_code": code, "changes": [asdict(line) for line in lines]}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return code
    if not lines:
        typer.echo("nothing changes")
        return code
    widths = [max(len(getattr(line, name)) for line in lines) for name in ("rule", "part", "what")]
    for line in lines:
        cells = (line.rule.ljust(widths[0]), line.part.ljust(widths[1]), line.what.ljust(widths[2]), line.why)
        typer.echo("  ".join(cells))
    typer.echo(_verdict(code))
    return code


def _line_of_versions(old: Pipeline, new: Pipeline) -> Iterator[Line]:
    """What leads to other versions altogether."""
    if old.name != new.name:
        why = "topics and versions bear the name; let the new model start warm from the old one"
        yield Line("name", f"{old.name} to {new.name}", "refused", why)
    if old.store.url != new.store.url:
        why = "another store holds no version; `springtide copy` takes versions there, or start warm"
        yield Line("store", f"{old.store.url} to {new.store.url}", "fresh", why)


def _beside(old: Pipeline, new: Pipeline) -> Iterator[Line]:
    """What is no part of the model's state."""
    if sql.plan(old).plan_hash != sql.plan(new).plan_hash:
        why = "`springtide join --upgrade` replaces the running join without a gap"
        yield Line("join", "another plan", "kept", why)
    if old.kafka != new.kafka:
        yield Line(
            "kafka", _names(old.kafka, new.kafka), "kept", "if it is the same cluster: the learner looks at its id"
        )
    if old.samples.partitions != new.samples.partitions:
        what = f"{old.samples.partitions} to {new.samples.partitions} partitions"
        yield Line("samples", what, "kept", "partitions that are added are read from their first sample on")
    if old.store != new.store and old.store.url == new.store.url:
        yield Line("store", _names(old.store, new.store), "kept", "versions are where they were")
    for part, before, after in _rules(old, new):
        if before != after and before.kind == after.kind:
            yield Line(part, f"optimizer: {_names(before, after)}", "kept", "later steps are made by it")
    for name, why in _NEXT_START.items():
        before, after = getattr(old, name), getattr(new, name)
        if name == "learner":  # the seed goes into the state
            after = after.model_copy(update={"seed": before.seed})
        if before != after:
            yield Line(name, _names(before, after), "kept", why)


def _rules(old: Pipeline, new: Pipeline) -> Iterator[tuple[str, Optimizer, Optimizer]]:
    """The optimizers of what both have."""
    yield "dense optimizer", old.model.optimizer, new.model.optimizer
    before = {table.name: table.optimizer for table in old.tables}
    for table in new.tables:
        if table.name in before:
            yield f"table `{table.name}`", before[table.name], table.optimizer


def _names(before: Any, after: Any) -> str:
    """The settings that differ."""
    return ", ".join(name for name in type(before).model_fields if getattr(before, name) != getattr(after, name))


def _verdict(code: int) -> str:
    told = {0: "all that was learned goes on", 1: "what is fresh or dropped begins anew or ends; all else goes on"}
    return told.get(code, "refused: this line of versions cannot go on with that pipeline")
