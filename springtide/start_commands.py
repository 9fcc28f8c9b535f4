"""The commands for a beginning and their options; knows no room: each imports its own when it is called."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from springtide.lifecycle import run
from springtide.options import DEFAULT_FILE, Output, OutputOption, PipelineFile


class Security(StrEnum):
    """How brokers are spoken to."""

    plaintext = "plaintext"
    ssl = "ssl"
    sasl_plaintext = "sasl_plaintext"
    sasl_ssl = "sasl_ssl"


def init(
    bootstrap: Annotated[str, typer.Option(help="Kafka's brokers, host:port.")],
    impressions: Annotated[str, typer.Option(help="Topic of what was shown.")],
    feedback: Annotated[list[str], typer.Option(help="Topic of what was clicked; repeat it for several kinds.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write; - prints it.")] = DEFAULT_FILE,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    name: Annotated[str, typer.Option(help="The model's name; without it the topic's first word.")] = "",
    store: Annotated[str, typer.Option(help="Where versions go, as s3://bucket/prefix.")] = "",
    endpoint: Annotated[str | None, typer.Option(help="Address of an S3 server that is not Amazon's.")] = None,
    messages: Annotated[int, typer.Option(min=10, max=100_000, help="How many of each topic are read at most.")] = 1000,
    security: Annotated[Security, typer.Option(help="How the brokers are spoken to.")] = Security.plaintext,
    mechanism: Annotated[str, typer.Option(help="SASL mechanism.")] = "SCRAM-SHA-512",
    username_env: Annotated[str, typer.Option(help="Environment variable with the user's name.")] = "KAFKA_USERNAME",
    password_env: Annotated[str, typer.Option(help="Environment variable with the password.")] = "KAFKA_PASSWORD",
    ca: Annotated[str | None, typer.Option(help="PEM file of the authority that signed the brokers.")] = None,
    registry: Annotated[str | None, typer.Option(help="URL of the schema registry, for topics in Avro.")] = None,
    registry_username_env: Annotated[
        str | None, typer.Option(help="Environment variable with its user's name.")
    ] = None,
    registry_password_env: Annotated[str | None, typer.Option(help="And with the password.")] = None,
    registry_ca: Annotated[str | None, typer.Option(help="PEM file of the authority that signed the registry.")] = None,
    proto: Annotated[
        str | None, typer.Option(help="The .proto file, or the descriptor set made of it, of topics in Protobuf.")
    ] = None,
    message: Annotated[
        list[str] | None, typer.Option(help="TOPIC=NAME, the full name of a topic's Protobuf message; repeat it.")
    ] = None,
) -> None:
    """Read some messages of two topics and write a commented pipeline.yaml."""

    def command() -> None:
        from springtide.init_command import InitSettings, run_init

        kafka: dict[str, Any] = {"bootstrap": bootstrap, "security": security.value}
        if security.value.startswith("sasl"):
            secrets = {"username": {"env": username_env}, "password": {"env": password_env}}
            kafka["sasl"] = {"mechanism": mechanism, **secrets}
        if ca is not None:
            kafka["tls"] = {"ca": ca}
        kinds, described = tuple(dict.fromkeys(feedback)), tuple(message or ())
        asked = _registry(registry, registry_username_env, registry_password_env, registry_ca)
        run_init(
            InitSettings(
                kafka, impressions, kinds, output, force, name, store, endpoint, messages, asked, proto, described
            )
        )

    run(command)


def _registry(url: str | None, username: str | None, password: str | None, ca: str | None) -> dict[str, Any] | None:
    """As a pipeline has it."""
    if url is None:
        return None
    secrets = {name: {"env": each} for name, each in (("username", username), ("password", password)) if each}
    return {"url": url, **secrets, **({"ca": ca} if ca is not None else {})}


def size(
    pipeline: PipelineFile = DEFAULT_FILE,
    events: Annotated[float, typer.Option(min=0, help="Impressions and feedback a second, at the peak.")] = 1000.0,
    keys: Annotated[float, typer.Option(min=0, help="Rows of all tables together, as 1e8.")] = 1e6,
    slo: Annotated[str | None, typer.Option(help="p99 of how far behind, as 5s; without it the pipeline's.")] = None,
    replicas: Annotated[int, typer.Option(min=0, help="How many replicas.")] = 2,
    requests: Annotated[float, typer.Option(min=0, help="Prediction requests a second, of all replicas.")] = 0.0,
    candidates: Annotated[int, typer.Option(min=1, help="Candidates of one request.")] = 100,
    event_bytes: Annotated[int, typer.Option(min=1, help="Bytes of one event.")] = 300,
    output: OutputOption = Output.text,
) -> None:
    """Say what cores, memory, store and network a load wants: exit 1 if the objective does not hold."""

    def command() -> None:
        from springtide.event_commands import span_of
        from springtide.size_command import run_size
        from springtide.sizing.estimate import Load

        objective = span_of("--slo", slo) if slo is not None else None
        load = Load(events, int(keys), event_bytes, replicas, requests, candidates)
        code = run_size(pipeline, load, objective, as_json=output is Output.json)
        if code:
            raise typer.Exit(code)

    run(command)


def add_to(app: typer.Typer) -> None:
    """Adds them to the program."""
    app.command()(init)
    app.command()(size)
