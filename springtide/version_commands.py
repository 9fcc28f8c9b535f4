"""The commands about versions and their options; knows no room: each command imports its own when it is called."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from springtide.lifecycle import run, stop_on_signals
from springtide.options import DEFAULT_FILE as FILE
from springtide.options import Output, OutputOption, PipelineFile

Version = Annotated[int, typer.Argument(help="Its number.")]
Who = Annotated[str, typer.Option(help="Who decides; without it the user who is logged in.")]
Why = Annotated[str, typer.Option(help="The reason, for the log.")]
Keep = Annotated[int, typer.Option(min=1, help="Keep the newest so many versions, each of them.")]
KeepFor = Annotated[float, typer.Option(min=0, help="Keep all versions younger than so many hours.")]
KeepEvery = Annotated[int | None, typer.Option(min=1, help="Keep one base in so many versions for ever.")]


def add_to(app: typer.Typer) -> None:
    """Registers every command of this family."""
    for command in (
        versions,
        inspect,
        diff,
        verify,
        compact,
        gc,
        rollback,
        unpin,
        promote,
        pause,
        resume,
        revert_learner,
        decisions,
        forget,
        export,
        copy,
    ):
        app.command()(command)


def versions(
    pipeline: PipelineFile = FILE,
    count: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 20,
    output: OutputOption = Output.text,
) -> None:
    """List the newest versions, the bases, and what is pinned or paused."""
    from springtide.version_reports import list_versions

    run(lambda: list_versions(pipeline, count, as_json=output is Output.json))


def inspect(
    version: Version,
    pipeline: PipelineFile = FILE,
    key: Annotated[
        str | None, typer.Option(help="An id, or a row's key: what became of its rows, version by version.")
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Show a version's manifest, or the history of one row up to it."""
    from springtide import version_reports

    run(lambda: version_reports.inspect(pipeline, version, key, as_json=output is Output.json))


def diff(
    earlier: Version,
    later: Annotated[int, typer.Argument(help="The other version.")],
    pipeline: PipelineFile = FILE,
    output: OutputOption = Output.text,
) -> None:
    """Compare two versions row by row."""
    from springtide.version_reports import compare

    run(lambda: compare(pipeline, earlier, later, as_json=output is Output.json))


def verify(
    pipeline: PipelineFile = FILE,
    first: Annotated[int | None, typer.Option(help="From this version on.")] = None,
    last: Annotated[int | None, typer.Option(help="Up to this version.")] = None,
    output: OutputOption = Output.text,
) -> None:
    """Read every kept object and check every checksum, order and shape."""
    from springtide.version_reports import check_store

    run(lambda: check_store(pipeline, first, last, as_json=output is Output.json))


def compact(
    pipeline: PipelineFile = FILE,
    once: Annotated[bool, typer.Option("--once", help="Compact the newest servable version now, and end.")] = False,
    collect: Annotated[bool, typer.Option("--gc", help="Also delete what nobody can want, every ten minutes.")] = False,
    keep: Keep = 1000,
    keep_hours: KeepFor = 6.0,
    keep_every: KeepEvery = None,
) -> None:
    """Make bases beside the running learner, so that every start is quick; runs until it is stopped."""

    def command() -> None:
        from checkpointing.retention import Retention
        from springtide.upkeep import run_compactor

        retention = Retention(keep, keep_hours * 3600, keep_every) if collect else None
        run_compactor(pipeline, once=once, collection=retention, stop=stop_on_signals())

    run(command)


def gc(
    pipeline: PipelineFile = FILE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing; list what would be.")] = False,
    keep: Keep = 1000,
    keep_hours: KeepFor = 6.0,
    keep_every: KeepEvery = None,
    output: OutputOption = Output.text,
) -> None:
    """Delete what no replica, learner, pin or lease can want any more."""

    def command() -> None:
        from checkpointing.retention import Retention
        from springtide.upkeep import run_collection

        retention = Retention(keep, keep_hours * 3600, keep_every)
        stop, as_json = stop_on_signals(), output is Output.json
        run_collection(pipeline, retention=retention, dry_run=dry_run, stop=stop, as_json=as_json)

    run(command)


def rollback(version: Version, pipeline: PipelineFile = FILE, who: Who = "", why: Why = "") -> None:
    """Pin all replicas to a version; learning goes on, and its versions wait."""
    from springtide import decisions as log

    run(lambda: log.rollback(pipeline, version, who=who, why=why))


def promote(version: Version, pipeline: PipelineFile = FILE, who: Who = "", why: Why = "") -> None:
    """Let replicas switch to a version that the gate refused."""
    from springtide import decisions as log

    run(lambda: log.promote(pipeline, version, who=who, why=why))


def resume(pipeline: PipelineFile = FILE, who: Who = "", why: Why = "") -> None:
    """End a rollback and a pause."""
    from springtide import decisions as log

    run(lambda: log.resume(pipeline, who=who, why=why))


def unpin(pipeline: PipelineFile = FILE, who: Who = "", why: Why = "") -> None:
    """End a rollback: replicas follow the newest version again."""
    from springtide import decisions as log

    run(lambda: log.unpin(pipeline, who=who, why=why))


def pause(pipeline: PipelineFile = FILE, who: Who = "", why: Why = "") -> None:
    """Keep the learner from polling until it is resumed; it stays alive."""
    from springtide import decisions as log

    run(lambda: log.pause(pipeline, who=who, why=why))


def revert_learner(version: Version, pipeline: PipelineFile = FILE, who: Who = "", why: Why = "") -> None:
    """Let the learner go back to a version; the samples since then stay unlearned."""
    from springtide import decisions as log

    run(lambda: log.revert_learner(pipeline, version, who=who, why=why))


def decisions(pipeline: PipelineFile = FILE, output: OutputOption = Output.text) -> None:
    """List who decided what, when and why."""
    from springtide import decisions as log

    run(lambda: log.list_decisions(pipeline, as_json=output is Output.json))


def forget(
    key: Annotated[str, typer.Option(help="The id, as the events have it.")],
    table: Annotated[str, typer.Option(help="The table whose row it is.")],
    pipeline: PipelineFile = FILE,
    delete_records: Annotated[
        bool,
        typer.Option("--delete-records", help="Also delete records of Springtide's own topics; there is no way back."),
    ] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the learner.")] = 30.0,
    who: Who = "",
    why: Why = "",
    output: OutputOption = Output.text,
) -> None:
    """Erase a key for good; repeat it until nothing is left."""

    def command() -> None:
        from springtide.forget import forget as erase

        stop, as_json = stop_on_signals(), output is Output.json
        erase(
            pipeline,
            key,
            table,
            who=who,
            why=why,
            delete_records=delete_records,
            wait_s=wait,
            as_json=as_json,
            stop=stop,
        )

    run(command)


def export(
    folder: Annotated[Path, typer.Argument(help="An empty folder.")],
    pipeline: PipelineFile = FILE,
    version: Annotated[int | None, typer.Option(help="Which; without it the newest servable one.")] = None,
    saved_model: Annotated[bool, typer.Option(help="Also as a SavedModel that answers as a replica does.")] = True,
) -> None:
    """Write a version for other systems: Parquet tables, dense arrays, GraphDef, SavedModel."""
    from springtide import transfer

    run(lambda: transfer.export(pipeline, folder, version, saved_model=saved_model))


def copy(
    target: Annotated[Path, typer.Argument(help="A pipeline.yaml of the same model with another store.")],
    pipeline: PipelineFile = FILE,
) -> None:
    """Copy all versions to another bucket or provider; repeat it to bring the copy up to date."""
    from springtide import transfer

    run(lambda: transfer.copy(pipeline, target))
