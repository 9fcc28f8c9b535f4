"""The commands about events and samples and their options; knows no room: each imports its own when it is called."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from springtide.lifecycle import run
from springtide.options import DEFAULT_FILE, Output, OutputOption, PipelineFile

if TYPE_CHECKING:
    from infra.units import Duration

SinceOption = Annotated[str | None, typer.Option(help="Only what was written so long ago at most, such as 2h.")]


def span_of(option: str, text: str) -> Duration:
    """A duration from the command line.

    Raises:
        Invalid: It is none.
    """
    from infra.errors import Invalid
    from infra.units import Duration

    try:
        return Duration(text)
    except ValueError as error:
        raise Invalid(f"{option}: {error}") from None


def _span(text: str | None) -> Duration | None:
    return span_of("--since", text) if text is not None else None


late = typer.Typer(no_args_is_help=True, help="The events that became no sample.")


@late.command("list")
def late_list(
    pipeline: PipelineFile = DEFAULT_FILE,
    since: SinceOption = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason, such as orphan or malformed.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many of the newest are shown with their bytes.")] = 20,
    output: OutputOption = Output.text,
) -> None:
    """List late, repeated and unreadable events, each with its place and bytes."""

    def command() -> None:
        from springtide.late_command import list_late

        list_late(pipeline, since=_span(since), reason=reason, limit=limit, as_json=output is Output.json)

    run(command)


@late.command("replay")
def late_replay(
    pipeline: PipelineFile = DEFAULT_FILE,
    since: SinceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be joined again.")] = False,
    output: OutputOption = Output.text,
) -> None:
    """Join late impressions and orphans again, as far as the topics still hold both sides."""

    def command() -> None:
        from springtide.late_command import replay_late

        replay_late(pipeline, since=_span(since), dry_run=dry_run, as_json=output is Output.json)

    run(command)


suggest = typer.Typer(no_args_is_help=True, help="Recommend settings from the data.")


@suggest.command()
def window(
    pipeline: PipelineFile = DEFAULT_FILE,
    since: SinceOption = "7d",
    coverage: Annotated[float, typer.Option(min=0.01, max=1, help="Share of the feedback to be covered.")] = 0.95,
    output: OutputOption = Output.text,
) -> None:
    """How late feedback comes, and which window would cover a share of it."""

    def command() -> None:
        from infra.units import Duration
        from springtide.suggest_command import suggest_window

        back = _span(since) or Duration("7d")
        suggest_window(pipeline, since=back, coverage=coverage, as_json=output is Output.json)

    run(command)


def add_to(app: typer.Typer) -> None:
    """Adds them to the program."""
    app.add_typer(late, name="late")
    app.add_typer(suggest, name="suggest")
