"""What `springtide init` does: reads a little of two topics and writes a pipeline.yaml; knows no column."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from infra.errors import Invalid
from infra.kafka import KafkaAdmin
from infra.spec import Kafka, SchemaRegistry
from springtide.survey.draft import draft, model_name
from springtide.survey.encoding import Known
from springtide.survey.findings import Findings, survey
from streaming.delays import span
from streaming.topic_sample import sample_topic

GROUP = "springtide-init"
STDOUT = Path("-")

Part = TypeVar("Part", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class InitSettings:
    """What a person said.

    Attributes:
        kafka: How the brokers are reached, as a pipeline has it; secrets as references.
        impressions: Topic of the impressions.
        feedback: Topics of feedback.
        file: Where the pipeline goes; ``-`` prints it.
        force: Whether a file that is there is replaced.
        name: The model's name; empty takes the topic's.
        store: URL of the store; empty makes one up.
        endpoint: Address of the store.
        messages: How many of each topic are read at most.
        registry: How a schema registry is reached, as a pipeline has it; None: nothing is in Avro.
        proto: Describes the Protobuf messages.
        protobuf: `TOPIC=NAME` of each topic in Protobuf.
    """

    kafka: dict[str, Any]
    impressions: str
    feedback: tuple[str, ...]
    file: Path
    force: bool
    name: str
    store: str
    endpoint: str | None
    messages: int
    registry: dict[str, Any] | None = None
    proto: str | None = None
    protobuf: tuple[str, ...] = ()


def run_init(settings: InitSettings) -> None:
    """Writes the pipeline and says what was found.

    Raises:
        Invalid: The file is there, a topic is not, or the topics do not hold what a pipeline wants.
        Unavailable: No broker answers, or no schema registry.
    """
    printed = settings.file == STDOUT
    if settings.file.exists() and not printed and not settings.force:
        raise Invalid(
            "the file is there already", cure="name another with -o, or say --force", where=str(settings.file)
        )
    if settings.impressions in settings.feedback:
        raise Invalid(f"topic `{settings.impressions}` was given as impressions and as feedback", wanted="two topics")
    kafka = _part("kafka", Kafka, settings.kafka)
    registry = _part("registry", SchemaRegistry, settings.registry) if settings.registry is not None else None
    known = Known.of(registry, settings.proto, settings.protobuf, (settings.impressions, *settings.feedback))
    found = look(kafka, settings.impressions, settings.feedback, settings.messages, known)
    name = settings.name or model_name(settings.impressions)
    store = settings.store or f"s3://springtide/{name}"
    text = draft(found, name=name, kafka=kafka, store=store, endpoint=settings.endpoint, registry=registry)
    if printed:
        typer.echo(text, nl=False)
        return
    try:
        settings.file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Invalid(
            f"cannot be written: {error.strerror}", cure="name a file with -o", where=str(settings.file)
        ) from None
    for line in report(found):
        typer.echo(line)
    typer.echo(f"wrote {settings.file}. Next: springtide check {settings.file}; springtide doctor {settings.file}")


def look(kafka: Kafka, impressions: str, feedback: tuple[str, ...], messages: int, known: Known) -> Findings:
    """Reads the newest feedback, and the impressions from then on, so that both cover the same time.

    Raises:
        Invalid: A topic is not there or empty, or the topics do not hold what a pipeline wants.
        Unavailable: No broker answers, or no schema registry.
    """
    KafkaAdmin(kafka).require_topics([impressions, *feedback])
    kinds = {topic: sample_topic(kafka, topic, messages, group=GROUP) for topic in feedback}
    begin = min(message.received_ms for kind in kinds.values() for message in kind)
    shown = sample_topic(kafka, impressions, messages, from_ms=begin, group=GROUP)
    return survey(impressions, shown, kinds, known)


def report(found: Findings) -> list[str]:
    """What was found, a line each."""
    ids = sum(each.kind == "id" for each in found.proposals)
    lines = [
        f"impressions  `{found.shown.topic}`  {len(found.shown):,} read  key `{found.key}`  "
        f"time `{found.time.path}` ({found.time.unit})  {len(found.proposals)} fields, {ids} of them ids"
    ]
    for each in found.feedback:
        pairing = each.pairing
        lines.append(
            f"feedback     `{each.table.topic}`  {len(each.table):,} read  key `{pairing.feedback_key}`  "
            f"time `{each.time.path}` ({each.time.unit})  {pairing.matched:,} of {pairing.feedback:,} matched  "
            f"delay p50 {each.p50_ms / 1000:.3g} s, p99 {each.p99_ms / 1000:.3g} s  window {span(each.window_s)}"
        )
    return lines


def _part(name: str, kind: type[Part], document: dict[str, Any]) -> Part:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        told = "; ".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors())
        raise Invalid(f"{name}: {told}", cure="correct the options that say how it is reached") from None
