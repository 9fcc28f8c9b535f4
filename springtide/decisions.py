"""Enters a person's decision about a model into its control log, after a look at whether it can be obeyed."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import getpass
from pathlib import Path

import orjson
import typer

from checkpointing.boundary import read_boundary
from checkpointing.chain import manifest_of, plan
from checkpointing.control import ControlLog, Decision, DecisionKind
from checkpointing.history import newest_version
from infra.clock import SystemClock, iso
from infra.errors import Invalid
from infra.object_store import ObjectStore, open_store
from infra.pipeline_file import load_pipeline


def rollback(path: Path, version: int, *, who: str, why: str) -> None:
    """Pins replicas to a servable version; learning goes on."""
    store, model = _open(path)
    _require(store, model, version, servable=True)
    _enter(store, model, "pin", who, why, version)
    boundary = read_boundary(store)
    start = plan(store, model, version).tail
    if not boundary.holds(start, version):  # a collection was faster
        _enter(store, model, "unpin", who, f"version {version} was collected", None)
        raise Invalid(f"version {version} was collected meanwhile", cure="choose a newer one", where=store.url)
    typer.echo("replicas switch within a second; `springtide resume` ends it")


def promote(path: Path, version: int, *, who: str, why: str) -> None:
    """Makes a version servable that the gate refused."""
    store, model = _open(path)
    _require(store, model, version, servable=False)
    _enter(store, model, "promote", who, why, version)


def resume(path: Path, *, who: str, why: str) -> None:
    """Ends a pin and a pause."""
    store, model = _open(path)
    control = ControlLog(store, model)
    control.poll()
    held = control.decisions
    if held.pin is None and held.pause is None:
        typer.echo("nothing is pinned or paused")
    if held.pin is not None:
        _enter(store, model, "unpin", who, why, None)
    if held.pause is not None:
        _enter(store, model, "resume", who, why, None)


def unpin(path: Path, *, who: str, why: str) -> None:
    """Ends a pin, and leaves a pause as it is."""
    store, model = _open(path)
    control = ControlLog(store, model)
    control.poll()
    if control.decisions.pin is None:
        typer.echo("nothing is pinned")
    else:
        _enter(store, model, "unpin", who, why, None)


def pause(path: Path, *, who: str, why: str) -> None:
    """Keeps the learner from polling."""
    store, model = _open(path)
    _enter(store, model, "pause", who, why, None)
    typer.echo("the learner stops within a second, and goes on committing heartbeats; `springtide resume` ends it")


def revert_learner(path: Path, version: int, *, who: str, why: str) -> None:
    """Lets the learner restore a servable version and go on from there."""
    store, model = _open(path)
    _require(store, model, version, servable=True)
    _enter(store, model, "revert-learner", who, why, version)
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


def _require(store: ObjectStore, model: str, version: int, *, servable: bool) -> None:
    """Whether ``version`` is there, has content, and may answer if that is asked."""
    newest = newest_version(store)
    manifest = manifest_of(store, model, version)
    if newest is None or not manifest.changes:
        raise Invalid(f"version {version} is a {manifest.kind}", wanted="a delta", cure="see `springtide versions`")
    control = ControlLog(store, model)
    control.poll()
    if servable and not manifest.gate.servable and version not in control.decisions.promoted:
        raise Invalid(
            f"the gate refused version {version}: {', '.join(manifest.gate.reasons)}",
            wanted="a servable version",
            cure="choose another, or `springtide promote` it first",
        )


def _enter(store: ObjectStore, model: str, kind: DecisionKind, who: str, why: str, version: int | None) -> None:
    control = ControlLog(store, model)
    typer.echo(line(control.append(kind, who=who or getpass.getuser(), why=why, clock=SystemClock(), version=version)))


def line(entry: Decision) -> str:
    """One decision, for people."""
    about = "" if entry.version is None else f" {entry.version}"
    about += "".join(f" {row.table}/{row.key}" for row in entry.keys)
    why = f": {entry.why}" if entry.why else ""
    return f"{entry.number:>4}  {iso(entry.decided_ts)}  {entry.kind}{about}  by {entry.who}{why}"
