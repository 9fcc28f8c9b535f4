"""What a store holds, for people: the line, one version, one row, two versions compared, and whether all is whole."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import typer

from checkpointing.base import base_versions, read_base
from checkpointing.boundary import read_boundary
from checkpointing.control import ControlLog
from checkpointing.history import manifests, newest_version, read_manifest
from checkpointing.manifest import Manifest
from checkpointing.trace import difference, row_history
from checkpointing.verify import verify
from infra.clock import SystemClock, iso
from infra.errors import Corrupt, Invalid
from infra.object_store import ObjectStore, open_store
from infra.pipeline_file import load_pipeline
from springtide.row_keys import row_keys


def list_versions(path: Path, count: int, *, as_json: bool) -> None:
    """Prints the newest ``count`` versions, and what holds."""
    store, model = _open(path)
    newest, boundary = newest_version(store), read_boundary(store)
    if newest is None:
        raise Invalid("the store holds no version", cure="start a learner first", where=store.url)
    bases = set(base_versions(store))
    control = ControlLog(store, model)
    control.poll()
    line = manifests(store, model, max(boundary.version, newest - count + 1), newest)
    promoted = control.decisions.promoted
    rows = [_row(each, each.version in bases, each.version in promoted) for each in line]
    if as_json:
        typer.echo(orjson.dumps(rows).decode())
        return
    for row in rows:
        mark = "base" if row["base"] else ""
        state = "servable" if row["servable"] else ", ".join(row["reasons"])
        if row["promoted"]:
            state += "  promoted"
        if row["base_ref"] == 0:
            state += "  of a new pipeline"
        elif row["base_ref"] is not None:
            state += f"  from {row['base_ref']}, {sum(end - begin for _, begin, end in row['quarantined'])} quarantined"
        typer.echo(
            f"{row['version']:>8}  {row['committed']}  {row['kind']:<9}  {row['rows']:>9,} rows"
            f"  {row['bytes']:>12,} bytes  {mark:<4}  {state}"
        )
    pin, pause = control.decisions.pin, control.decisions.pause
    typer.echo(f"versions {boundary.version} to {newest}; bases {sorted(bases) or 'none'}")
    if pin is not None:
        typer.echo(f"pinned to {pin.version} by {pin.who} since {iso(pin.decided_ts)}: {pin.why}")
    if pause is not None:
        typer.echo(f"paused by {pause.who} since {iso(pause.decided_ts)}: {pause.why}")


def inspect(path: Path, version: int, key: str | None, *, as_json: bool) -> None:
    """Prints one manifest, or the history of one id's rows up to that version."""
    pipeline = load_pipeline(path)
    store, model = open_store(pipeline.store), pipeline.name
    if key is None:
        manifest = read_manifest(store, model, version)
        # A base that was kept outlives its version's manifest.
        if manifest is None and (base := read_base(store, model, version)) is not None:
            manifest = base.manifest
        if manifest is None:
            raise Invalid(f"there is no version {version}", cure="see `springtide versions`", where=store.url)
        form = orjson.OPT_INDENT_2 if not as_json else 0
        typer.echo(orjson.dumps(manifest.model_dump(), option=form).decode())
        return
    found = False
    keys, itself = row_keys(pipeline, key), _integer(key)
    wanted = sorted({*keys.values(), *([] if itself is None else [itself])})
    history = (row for one in wanted for row in row_history(store, model, version, one, SystemClock()))
    for row in history:
        if row.key not in (keys.get(row.table), itself):
            continue  # another table's key, which happens to be in this one, too
        found = True
        where = "base   " if row.in_base else "version"
        if as_json:
            values = None if row.values is None else row.values.tolist()
            about = {"version": row.version, "table": row.table, "key": row.key, "values": values}
            typer.echo(orjson.dumps(about | {"in_base": row.in_base}).decode())
        elif row.values is None:
            typer.echo(f"{where} {row.version:>8}  {row.table}  deleted")
        else:
            numbers = " ".join(f"{value:.6g}" for value in row.values)
            typer.echo(f"{where} {row.version:>8}  {row.table}  seen {row.frequency}x, {iso(row.last_seen)}  {numbers}")
    if not found:
        raise Invalid(f"no table has a row of `{key}` up to version {version}", where=store.url)


def compare(path: Path, earlier: int, later: int, *, as_json: bool) -> None:
    """Prints per table how two versions differ."""
    store, model = _open(path)
    found = difference(store, model, earlier, later, SystemClock())
    if as_json:
        typer.echo(orjson.dumps(found).decode())
        return
    for table in found:
        typer.echo(
            f"{table.table:<20} +{table.added:,} -{table.removed:,} changed {table.changed:,} same {table.same:,}"
            f"  largest change {table.largest:.6g}"
        )


def check_store(path: Path, first: int | None, last: int | None, *, as_json: bool = False) -> None:
    """Reads everything and prints what is wrong.

    Raises:
        Corrupt: Something is.
    """
    store, model = _open(path)
    objects = size = 0
    broken = []
    for finding in verify(store, model, first=first, last=last):
        objects += finding.objects
        size += finding.size
        if finding.problem is not None:
            broken.append(finding)
            if not as_json:
                typer.echo(f"{finding.what}: {finding.problem}", err=True)
    if as_json:
        wrong = [{"what": finding.what, "problem": str(finding.problem)} for finding in broken]
        typer.echo(orjson.dumps({"objects": objects, "bytes": size, "wrong": wrong}).decode())
    if broken:
        raise Corrupt(
            f"{len(broken)} of the versions and bases are wrong",
            cure="docs/recovery.md says how to go on",
            where=store.url,
        )
    if not as_json:
        typer.echo(f"ok  {objects:,} objects, {size:,} bytes")


def _open(path: Path) -> tuple[ObjectStore, str]:
    pipeline = load_pipeline(path)
    return open_store(pipeline.store), pipeline.name


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _row(manifest: Manifest, has_base: bool, promoted: bool) -> dict[str, Any]:
    return {
        "version": manifest.version,
        "kind": manifest.kind,
        "epoch": manifest.epoch,
        "learner": manifest.learner,
        "committed": iso(manifest.created_ts),
        "rows": sum(part.rows for part in manifest.ranges().values() if part.role == "rows"),
        "bytes": sum(file.bytes for file in manifest.files),
        "servable": manifest.gate.servable,
        "reasons": list(manifest.gate.reasons),
        "promoted": promoted,
        "base": has_base,
        "base_ref": manifest.base_ref,
        "quarantined": [list(run) for run in manifest.quarantined],
    }
