"""Holds some real events against what a pipeline says of them: key, time, unit, order; must not know encodings."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from infra.errors import Invalid
from infra.spec import Feedback, Pipeline, Topic
from springtide.survey.columns import Table, read_table
from springtide.survey.encoding import encoding_of
from springtide.survey.pairing import first_moments, paired
from springtide.survey.times import NAMES, TimeColumn, moments_of, unit_of
from streaming.topic_sample import Message, sample_topic

COUNT: Final = 200
# Fewer of either say nothing.
ENOUGH: Final = 20
MOST: Final = 0.5


def check_events(pipeline: Pipeline) -> Iterator[str]:
    """A line on each topic whose newest events are as the pipeline says.

    Raises:
        Invalid: With every topic whose events are not; empty topics say nothing.
        Unavailable: No broker answers, or no schema registry.
    """
    shown = _sampled(pipeline, pipeline.events.impressions, None)
    begin = min((message.received_ms for message in shown.messages), default=None) if shown else None
    wrong: list[str] = []
    read: dict[str, tuple[Table, TimeColumn]] = {}
    pairs: list[tuple[Topic, Table | None]] = [(pipeline.events.impressions, shown)]
    pairs += [(kind, _sampled(pipeline, kind, begin)) for kind in pipeline.events.feedback]
    for topic, table in pairs:
        if table is None:
            continue
        try:
            read.setdefault(topic.topic, (table, _described(topic, table)))
        except Invalid as error:
            wrong.append(str(error))
            continue
        unit = NAMES[topic.time_unit]
        yield f"`{topic.topic}`, {len(table):,} read: `{topic.key}` and `{topic.time}` ({unit}) are there"
    for kind in pipeline.events.feedback:
        if not wrong and pipeline.events.impressions.topic in read and kind.topic in read:
            wrong += _order(pipeline, kind, read)
    if wrong:
        raise Invalid("\n".join(dict.fromkeys(wrong)))


def _sampled(pipeline: Pipeline, topic: Topic, from_ms: int | None) -> Table | None:
    """Some events of a topic; None where it has none."""
    try:
        group = f"springtide.{pipeline.name}.doctor"
        found: list[Message] = sample_topic(pipeline.kafka, topic.topic, COUNT, from_ms=from_ms, group=group)
    except Invalid:  # nothing was sent yet
        return None
    return read_table(topic.topic, found, encoding_of(topic, pipeline.schema_registry))


def _described(topic: Topic, table: Table) -> TimeColumn:
    """The times of a topic's events, if key and time are where the pipeline says."""
    for setting, name in (("key", topic.key), ("time", topic.time)):
        column = table.columns.get(name)
        held = len(column.values) if column is not None else 0
        if held < MOST * len(table):
            near = difflib.get_close_matches(name, table.columns, n=1)
            hint = f"; nearest `{near[0]}`" if near and near[0] != name else ""
            raise Invalid(
                f"topic `{topic.topic}`: `{name}` is in {held:,} of {len(table):,} events{hint}",
                cure=f"correct `{setting}`",
            )
    column = table.columns[topic.time]
    unit = unit_of(column)
    if unit is None:
        raise Invalid(
            f"topic `{topic.topic}`: `{topic.time}` holds no times",
            wanted=NAMES[topic.time_unit],
            cure="correct `time`",
        )
    if unit != topic.time_unit:
        raise Invalid(
            f"topic `{topic.topic}`: `{topic.time}` is in {NAMES[unit]}, and `time_unit` says {topic.time_unit}",
            cure=f"time_unit: {unit}",
        )
    return TimeColumn(topic.time, unit, moments_of(column, unit), None)


def _order(pipeline: Pipeline, kind: Feedback, read: dict[str, tuple[Table, TimeColumn]]) -> Iterator[str]:
    """What is wrong where feedback comes before its impressions."""
    shown, feedback = read[pipeline.events.impressions.topic], read[kind.topic]
    key = pipeline.events.impressions.key
    ours = first_moments(shown[0].columns[key], shown[1])
    found = paired(key, ours, kind.key, first_moments(feedback[0].columns[kind.key], feedback[1]))
    delays = found.delays_ms
    if len(delays) >= ENOUGH and delays[int(0.9 * (len(delays) - 1))] < 0 and found.reversed_share:
        yield (
            f"topics `{shown[0].topic}` and `{kind.topic}` seem exchanged: feedback comes "
            f"{-delays[len(delays) // 2] / 1000:.3g} s before its impression (p50). Cure: exchange the two"
        )
