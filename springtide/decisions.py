"""What the commands of decisions do and print: who decided, and what follows."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import orjson
import typer

from checkpointing.control import ControlLog, Decision
from checkpointing.deciding import Decider
from infra.account import account
from infra.clock import SystemClock, iso
from infra.object_store import ObjectStore, open_store
from infra.pipeline_file import load_pipeline


def rollback(path: Path, version: int, *, who: str, why: str) -> None:
    """Pins replicas to a servable version; learning goes on."""
    _tell(_decider(path, who, why).pin(version))
    typer.echo("replicas switch within a second; `springtide resume` ends it")


def promote(path: Path, version: int, *, who: str, why: str) -> None:
    """Makes a version servable that the gate refused."""
    _tell(_decider(path, who, why).promote(version))


def resume(path: Path, *, who: str, why: str) -> None:
    """Ends a pin and a pause."""
    entries = _decider(path, who, why).resume()
    if not entries:
        typer.echo("nothing is pinned or paused")
    _tell(*entries)


def unpin(path: Path, *, who: str, why: str) -> None:
    """Ends a pin, and leaves a pause as it is."""
    entry = _decider(path, who, why).unpin()
    if entry is None:
        typer.echo("nothing is pinned")
    else:
        _tell(entry)


def pause(path: Path, *, who: str, why: str) -> None:
    """Keeps the learner from polling."""
    _tell(_decider(path, who, why).pause())
    typer.echo("the learner stops within a second, and goes on committing heartbeats; `springtide resume` ends it")


def revert_learner(path: Path, version: int, *, who: str, why: str) -> None:
    """Lets the learner restore a servable version and go on from there."""
    _tell(_decider(path, who, why).revert_learner(version))
    typer.echo("the learner goes back within a second or, if none runs, when it starts; see `springtide versions`")


def list_decisions(path: Path, *, as_json: bool) -> None:
    """Prints the log, oldest first."""
    store, model = _open(path)
    entries = ControlLog(store, model).poll()
    if as_json:
        typer.echo(orjson.dumps([entry.model_dump(exclude={"format", "model"}) for entry in entries]).decode())
        return
    for entry in entries:
        typer.echo(line(entry))


def _open(path: Path) -> tuple[ObjectStore, str]:
    pipeline = load_pipeline(path)
    return open_store(pipeline.store), pipeline.name


def _decider(path: Path, who: str, why: str) -> Decider:
    store, model = _open(path)
    return Decider(store, model, SystemClock(), who or account(), why)


def _tell(*entries: Decision) -> None:
    for entry in entries:
        typer.echo(line(entry))


def line(entry: Decision) -> str:
    """One decision, for people."""
    about = "" if entry.version is None else f" {entry.version}"
    about += "".join(f" {row.table}/{row.key}" for row in entry.keys)
    why = f": {entry.why}" if entry.why else ""
    return f"{entry.number:>4}  {iso(entry.decided_ts)}  {entry.kind}{about}  by {entry.who}{why}"
