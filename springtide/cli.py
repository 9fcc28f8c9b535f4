"""The commands and their options; knows no room: each command imports its own when it is called."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from springtide import event_commands, start_commands, version_commands
from springtide.arrangement import PanelledHelp, arrange
from springtide.lifecycle import run, stop_on_signals
from springtide.options import DEFAULT_FILE, Output, OutputOption, PipelineFile

app = typer.Typer(
    help="Keeps a recommendation or ad model as fresh as the last click.",
    no_args_is_help=True,
    cls=PanelledHelp,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


start_commands.add_to(app)


@app.command()
def check(pipeline: PipelineFile = DEFAULT_FILE, output: OutputOption = Output.text) -> None:
    """Validate a pipeline.yaml without a network: all errors at once."""

    def command() -> None:
        from springtide.check import run_check

        code = run_check(pipeline, as_json=output is Output.json)
        if code:
            raise typer.Exit(code)

    run(command)


@app.command()
def doctor(
    pipeline: PipelineFile = DEFAULT_FILE,
    acls: Annotated[
        bool, typer.Option("--acls", help="Print the rights to request on Kafka and the store instead; asks no server.")
    ] = False,
    principal: Annotated[str, typer.Option(help="As whom the brokers know this user.")] = "User:springtide",
    output: OutputOption = Output.text,
) -> None:
    """Probe Kafka, the object store, Flink and this machine: every line is a fact or a cure."""

    def command() -> None:
        if acls:
            from springtide.rights_command import print_rights

            print_rights(pipeline, principal=principal, as_json=output is Output.json)
            return
        from springtide.doctor import examine, print_findings

        code = print_findings(examine(pipeline), as_json=output is Output.json)
        if code:
            raise typer.Exit(code)

    run(command)


@app.command()
def plan(
    old: Annotated[Path, typer.Argument(help="The pipeline.yaml that a model was made by.")],
    new: Annotated[Path, typer.Argument(help="The one that it is to go on by.")],
    output: OutputOption = Output.text,
) -> None:
    """Say what a change does to a live model: exit 0 if all goes on, 1 if some of it begins anew, 2 if refused."""

    def command() -> None:
        from springtide.plan_command import run_plan

        code = run_plan(old, new, as_json=output is Output.json)
        if code:
            raise typer.Exit(code)

    run(command)


@app.command()
def join(
    pipeline: PipelineFile = DEFAULT_FILE,
    stop_job: Annotated[bool, typer.Option("--stop-job", help="End the Flink job when this command ends.")] = False,
    replay: Annotated[bool, typer.Option("--replay", help="Join everything that the topics still hold again.")] = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Replace the running join with this pipeline's, without a gap.")
    ] = False,
    print_topics: Annotated[
        bool, typer.Option("--print-topics", help="Print the commands that create Springtide's topics, and end.")
    ] = False,
) -> None:
    """Join impressions and feedback into samples: submit the Flink job and watch over it."""

    def command() -> None:
        if print_topics:
            from springtide.topics_command import print_creation

            print_creation(pipeline)
            return
        from infra.clock import SystemClock
        from infra.logs import configure
        from infra.pipeline_file import load_pipeline
        from streaming.controller import run_join

        spec = load_pipeline(pipeline)
        configure("join", spec.name)
        stop = stop_on_signals()
        run_join(spec, clock=SystemClock(), stop=stop, stop_job=stop_job, replay=replay, upgrade=upgrade)

    run(command)


@app.command()
def learn(
    pipeline: PipelineFile = DEFAULT_FILE,
    identity: Annotated[str, typer.Option(help="Who this learner is; the same name may take over at once.")] = "",
    takeover: Annotated[bool, typer.Option("--takeover", help="Take over from another learner at once.")] = False,
    from_timestamp: Annotated[
        str | None,
        typer.Option(help="A model without versions begins with the samples of then, ISO-8601 or ms since 1970."),
    ] = None,
    warm_start: Annotated[
        Path | None, typer.Option(help="A model without versions begins with what that pipeline.yaml's has learned.")
    ] = None,
    accept_gap: Annotated[
        bool,
        typer.Option("--accept-gap", help="Go on without the samples that Kafka has lost since the newest version."),
    ] = False,
) -> None:
    """Train on the samples and commit versions, from the newest version on."""

    def command() -> None:
        from springtide.processes import learn as start

        start(
            pipeline,
            identity=identity,
            takeover=takeover,
            stop=stop_on_signals(),
            from_timestamp=from_timestamp,
            warm_start=warm_start,
            accept_gap=accept_gap,
        )

    run(command)


@app.command()
def replay(
    pipeline: PipelineFile = DEFAULT_FILE,
    first: Annotated[int, typer.Option("--from", min=0, help="Begin at this version; 0: before any sample.")] = 0,
    last: Annotated[
        int | None, typer.Option("--to", min=1, help="Rebuild this version; without it the newest.")
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Rebuild a version from its samples and compare it with the stored one: exit 1 if a bit differs."""

    def command() -> None:
        from springtide.replay_command import run_replay

        code = run_replay(pipeline, first, last, as_json=output is Output.json)
        if code:
            raise typer.Exit(code)

    run(command)


@app.command()
def serve(
    pipeline: PipelineFile = DEFAULT_FILE,
    name: Annotated[str, typer.Option(help="Name of this replica.")] = "replica-0",
    port: Annotated[int | None, typer.Option(help="Port, instead of the one in the file.")] = None,
) -> None:
    """Answer prediction requests from the newest version."""

    def command() -> None:
        from springtide.processes import serve as start

        start(pipeline, name=name, port=port, stop=stop_on_signals())

    run(command)


@app.command()
def dashboard(
    pipelines: Annotated[
        list[Path] | None,
        typer.Argument(help="The pipeline.yaml of each model, the one that is shown first before the others."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port, instead of the one in the file.")] = None,
) -> None:
    """Show how old the knowledge of one or several models is, on one page."""

    def command() -> None:
        from springtide.processes import dashboard as start

        start(pipelines or [DEFAULT_FILE], port=port, stop=stop_on_signals())

    run(command)


@app.command()
def demo(
    data: Annotated[str, typer.Option(help="movielens, open-bandit, mind, or the path of your pipeline.yaml.")] = (
        "movielens"
    ),
    files: Annotated[Path | None, typer.Option(help="Folder of the MIND log.")] = None,
    impressions: Annotated[Path | None, typer.Option(help="Your impressions, JSON lines.")] = None,
    feedback: Annotated[Path | None, typer.Option(help="Your feedback, JSON lines.")] = None,
    minutes: Annotated[float, typer.Option(min=0.2, help="How long the replay takes.")] = 3.0,
    once: Annotated[bool, typer.Option("--once", help="Exit when the replay is done, 0 or 1.")] = False,
    page_port: Annotated[
        int | None, typer.Option(help="Port of the page; without it 8080 or, if that is taken, a free one.")
    ] = None,
) -> None:
    """Run the whole loop on this machine and replay real clicks through it."""

    def command() -> None:
        from springtide.demo import DemoSettings, run_demo

        settings = DemoSettings(data, files, impressions, feedback, minutes, once, page_port)
        code = run_demo(settings, stop=stop_on_signals())
        if code:
            raise typer.Exit(code)

    run(command)


@app.command()
def alerts(
    pipeline: PipelineFile = DEFAULT_FILE,
    puts_per_hour: Annotated[float, typer.Option(help="More objects put an hour than this are told.")] = 20_000,
    bytes_per_hour: Annotated[float, typer.Option(help="More bytes put an hour than this are told.")] = 50e9,
    grafana: Annotated[bool, typer.Option("--grafana", help="Print the Grafana dashboard instead, as JSON.")] = False,
) -> None:
    """Print Prometheus rules for a pipeline's freshness objective, one alert per runbook."""

    def command() -> None:
        from springtide.alerts_command import print_alerts

        print_alerts(pipeline, puts_per_hour=puts_per_hour, bytes_per_hour=bytes_per_hour, grafana=grafana)

    run(command)


@app.command()
def probe(
    pipeline: Annotated[
        Path | None, typer.Argument(help="The pipeline.yaml; without it ./pipeline.yaml or the running demo's.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many probes, one after the other.")] = 1,
    effect: Annotated[bool, typer.Option("--effect", help="Also show how the score of the item moved.")] = False,
    every: Annotated[
        str | None, typer.Option(help="Go on for ever with one probe so often, as 1m; exit 1 if any was lost.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds until a probe counts as lost.")] = 60.0,
    listen: Annotated[
        str | None, typer.Option(help="With --every: answer /metrics at this address and port, as 0.0.0.0:8900.")
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Send a brand-new impression and its click; time it to the version that learned it in every replica."""

    def command() -> None:
        if every is not None:
            from springtide.canary import run_canary
            from springtide.event_commands import span_of

            interval, as_json, stop = span_of("--every", every), output is Output.json, stop_on_signals()
            code = run_canary(pipeline, every=interval, timeout=timeout, as_json=as_json, stop=stop, listen=listen)
            if code:
                raise typer.Exit(code)
            return
        from springtide.probe_command import run_probes

        run_probes(pipeline, count=count, effect=effect, timeout=timeout, as_json=output is Output.json)

    run(command)


event_commands.add_to(app)
version_commands.add_to(app)
arrange(app)


def main() -> None:
    """Entry point of the ``springtide`` command."""
    app()
