"""What `springtide suggest` prints; knows suggestions, not how they are computed."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import typer

from infra.clock import SystemClock
from infra.pipeline_file import load_pipeline
from infra.spec import Pipeline
from infra.units import Duration
from streaming import topics
from streaming.delays import Suggestion, collect, span
from streaming.topic_tail import TopicTail


def suggest_window(path: Path, *, since: Duration, coverage: float, as_json: bool) -> None:
    """Prints for each kind of feedback how late it comes and which window covers a share of it.

    Raises:
        Invalid: Too few samples are old enough, or they do not say when their feedback came.
        Unavailable: No broker answers.
    """
    pipeline = load_pipeline(path)
    begin = SystemClock().now_ms() - since.ms
    samples = _rows(pipeline, topics.samples_of(pipeline), begin)
    late = _rows(pipeline, topics.late_of(pipeline), begin)
    found = [each.suggest(coverage) for each in collect(pipeline, samples, late)]
    if as_json:
        typer.echo(orjson.dumps([each.as_row() for each in found]).decode())
        return
    for each in found:
        typer.echo(text(each, pipeline))


def text(found: Suggestion, pipeline: Pipeline) -> str:
    """One suggestion on three lines."""
    kind = next(each for each in pipeline.events.feedback if each.name == found.feedback)
    window, correction = pipeline.join.windows(kind)
    delays = "  ".join(f"p{100 * share:g} {span(value)}" for share, value in found.quantiles_s.items())
    return (
        f"{found.feedback}   {found.answered:,} of {found.impressions:,} impressions   {delays}\n"
        f"  the window of {window} covers {found.coverage:.1%}; {span(found.suggested_s)} covers {found.wanted:.1%}\n"
        f"  {found.orphaned:.1%} of the feedback found no impression within {correction}; later feedback is among it"
    )


def _rows(pipeline: Pipeline, topic: str, since_ms: int) -> Iterator[dict[str, Any]]:
    with TopicTail(pipeline.kafka, topic, since_ms=since_ms, group=f"springtide.{pipeline.name}.suggest") as tail:
        for record in tail.read():
            yield orjson.loads(record.value)
