"""Examines what a pipeline needs: Kafka, topics, store, Flink, clock, memory; every line is a fact or a cure."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import orjson
import psutil  # type: ignore[import-untyped]
import typer

from infra.clock import SystemClock, new_uuid
from infra.errors import Invalid, SpringtideError, Unavailable
from infra.kafka import Delivery, KafkaAdmin, PartitionReader, Producer, TopicSettings
from infra.object_store import open_store, prove_conditional_writes
from infra.pipeline_file import load_pipeline
from infra.spec import Pipeline
from springtide.event_check import check_events
from streaming import topics
from streaming.schema_check import check_schemas

State = Literal["ok", "warn", "FAIL"]
CLOCK_WARN_MS = 500
# What the whole platform takes on one machine beside the servers: learner, two replicas, join, compactor and page.
NEEDED_GIB = 4.0
GIB = 1 << 30
REQUEST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at and what was found.

    Attributes:
        state: ``ok``, ``warn`` (it works, but) or ``FAIL``.
        subject: What was looked at.
        text: The fact, and the cure where one is needed.
        exit_code: The code of the error behind a FAIL.
    """

    state: State
    subject: str
    text: str
    exit_code: int = 0


def examine(path: Path) -> Iterator[Finding]:
    """Every finding, as soon as it is known; an unreachable server fails its own lines only.

    Raises:
        Invalid: The pipeline itself cannot be read.
    """
    pipeline = load_pipeline(path)
    yield Finding("ok", "file", f"{path}: model `{pipeline.name}`")
    checks: list[tuple[str, Callable[[Pipeline], Iterator[Finding]]]] = [
        ("kafka", _kafka),
        ("topic", _topics),
        ("schema", _schemas),
        ("events", _events),
        ("clock", _clock),
        ("s3", _store),
        ("flink", _flink),
        ("memory", _memory),
    ]
    for subject, look in checks:
        try:
            yield from look(pipeline)
        except SpringtideError as error:
            for line in str(error).splitlines():
                yield Finding("FAIL", subject, line, error.exit_code)


def print_findings(findings: Iterator[Finding], *, as_json: bool) -> int:
    """Prints the findings; returns the exit code: 0, or that of the first FAIL."""
    code = 0
    rows = []
    for finding in findings:
        code = code or finding.exit_code
        if as_json:
            rows.append({"state": finding.state, "subject": finding.subject, "text": finding.text})
        else:
            typer.echo(f"{finding.state:<5} {finding.subject:<8} {finding.text}")
    if as_json:
        typer.echo(orjson.dumps(rows).decode())
    return code


def _kafka(pipeline: Pipeline) -> Iterator[Finding]:
    cluster = KafkaAdmin(pipeline.kafka).describe()
    brokers = f"{len(cluster.brokers)} broker{'s' if len(cluster.brokers) != 1 else ''}"
    yield Finding("ok", "kafka", f"{brokers}, {pipeline.kafka.security}, {len(cluster.topics)} topics readable")


def _topics(pipeline: Pipeline) -> Iterator[Finding]:
    admin = KafkaAdmin(pipeline.kafka)
    for name in topics.user_topics(pipeline):
        try:
            admin.require_topics([name])
        except Invalid as error:
            yield Finding("FAIL", "topic", f"{error.what}. Cure: {error.cure}", error.exit_code)
        else:
            with PartitionReader(pipeline.kafka, name, group=f"springtide.{pipeline.name}.doctor") as reader:
                marks = reader.watermarks()
            held = sum(high - low for low, high in marks.values())
            text = f"`{name}`, {len(marks)} partition{'s' if len(marks) != 1 else ''}, lag readable"
            yield Finding("ok", "topic", f"{text}, about {held:,} messages held")


def _schemas(pipeline: Pipeline) -> Iterator[Finding]:
    for checked in check_schemas(pipeline):
        yield Finding("ok", "schema", f"`{checked.topic}`, {checked.source}, has all that `events` reads")


def _events(pipeline: Pipeline) -> Iterator[Finding]:
    for line in check_events(pipeline):
        yield Finding("ok", "events", line)


def _clock(pipeline: Pipeline) -> Iterator[Finding]:
    """Compares this machine's clock with the broker's, by a message that the broker stamps."""
    clock, admin = SystemClock(), KafkaAdmin(pipeline.kafka)
    name = f"springtide.{pipeline.name}.doctor.{new_uuid()[:8]}"
    admin.ensure_topics([TopicSettings(name, settings={"message.timestamp.type": "LogAppendTime"})])
    try:
        stamped: list[Delivery] = []
        with Producer(pipeline.kafka) as producer:
            producer.send(name, b"warm")  # the first message also pays for the connection
            producer.flush()
            before = clock.now_ms()
            producer.send(name, b"clock", delivered=stamped.append)
            producer.flush()
            after = clock.now_ms()
    finally:
        admin.delete_topics([name])
    ahead = stamped[0].timestamp_ms - (before + after) / 2
    direction = "ahead of" if ahead > 0 else "behind"
    text = f"broker {abs(ahead) / 1000:.1f} s {direction} this machine"
    if abs(ahead) > CLOCK_WARN_MS:
        yield Finding("warn", "clock", f"{text}; freshness is off by as much. Cure: synchronise both by NTP")
    else:
        yield Finding("ok", "clock", text)


def _store(pipeline: Pipeline) -> Iterator[Finding]:
    prove_conditional_writes(open_store(pipeline.store))
    yield Finding("ok", "s3", f"{pipeline.store.url}: a second conditional create is refused, as commits need it")


def _flink(pipeline: Pipeline) -> Iterator[Finding]:
    address = pipeline.flink.rest
    try:
        answer = httpx.get(f"{address}/overview", timeout=REQUEST_SECONDS, trust_env=False)
        if answer.is_server_error:
            answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        cure = "start the cluster or correct `flink.rest`"
        raise Unavailable(f"no Flink answers at {address}: {error}", cure=cure) from error
    try:
        overview = answer.json()
        managers, free = int(overview["taskmanagers"]), int(overview["slots-available"])
        version, slots, jobs = overview["flink-version"], overview["slots-total"], overview["jobs-running"]
    except (ValueError, KeyError, TypeError) as error:
        said = " ".join(answer.text[:80].split())
        raise Invalid(
            f"{address} answers, but is no Flink cluster: {said}",
            wanted="its REST address",
            cure="correct `flink.rest`",
        ) from error
    text = f"{version}, {managers} task managers, {free} of {slots} slots free"
    if managers == 0:
        yield Finding("FAIL", "flink", f"{text}. Cure: start a task manager", Unavailable.exit_code)
    elif free < pipeline.flink.parallelism and not jobs:
        yield Finding("FAIL", "flink", f"{text}, wanted {pipeline.flink.parallelism}", Unavailable.exit_code)
    else:
        yield Finding("ok", "flink", text)


def _memory(_: Pipeline) -> Iterator[Finding]:
    free = psutil.virtual_memory().available / GIB
    text = f"{free:.1f} GiB free, about {NEEDED_GIB:.1f} needed for every role on this machine"
    yield Finding("ok" if free >= NEEDED_GIB else "warn", "memory", text)
