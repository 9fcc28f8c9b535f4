"""What `springtide check` says of a pipeline.yaml; must not use a network."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import orjson
import typer

from infra.errors import Invalid
from infra.pipeline_file import load_pipeline
from springtide.wiring import table_settings

# A line of an error in the file: where it stands, and what is wrong there.
_PLACED: Final = re.compile(r"(?P<file>.*):(?P<line>[0-9]+):(?P<column>[0-9]+)  (?P<text>.*)")


def run_check(path: Path, *, as_json: bool) -> int:
    """Prints the verdict; returns the exit code.

    Raises:
        Invalid: With every error of the file, one a line, where they are not asked for as JSON.
    """
    if not as_json:
        typer.echo(check_file(path))
        return 0
    try:
        check_file(path)
    except Invalid as error:
        lines = str(error).splitlines()
        typer.echo(orjson.dumps({"valid": False, "errors": [_as_row(line, path) for line in lines]}).decode())
        return error.exit_code
    typer.echo(orjson.dumps({"valid": True, "errors": []}).decode())
    return 0


def check_file(path: Path) -> str:
    """One line on a valid file.

    Raises:
        Invalid: With every error of the file, one a line.
    """
    pipeline = load_pipeline(path)
    table_settings(pipeline)
    topics = [pipeline.events.impressions.topic, *(feedback.topic for feedback in pipeline.events.feedback)]
    return (
        f"ok  {path}: model `{pipeline.name}` ({pipeline.model.name}), {' + '.join(topics)} "
        f"joined for {pipeline.join.window}, {len(pipeline.features)} features on {len(pipeline.tables)} tables, "
        f"a version every {pipeline.learner.commit_interval}"
    )


def _as_row(line: str, path: Path) -> dict[str, object]:
    placed = _PLACED.fullmatch(line)
    if placed is None:
        return {"file": str(path), "line": None, "column": None, "text": line}
    return {
        "file": placed["file"],
        "line": int(placed["line"]),
        "column": int(placed["column"]),
        "text": placed["text"],
    }
