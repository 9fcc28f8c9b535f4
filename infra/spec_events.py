"""What a pipeline.yaml says of its events and of the samples made of them; must not know features or models."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from infra.spec_checks import format_findings, join_findings
from infra.spec_part import FieldName, FieldPath, FieldType, Name, Part, ProtobufName, Span, TopicName, refuse
from infra.units import Duration


class EventField(Part):
    """One attribute of an impression; ``path`` leads to it where it lies inside others, as ``user.address.city``."""

    name: FieldName
    type: FieldType = "string"
    path: FieldPath | None = None


class Topic(Part):
    """A topic of the user's, which Springtide only reads."""

    topic: TopicName
    format: Literal["json", "avro", "protobuf"] = "json"
    subject: str | None = Field(default=None, min_length=1)  # avro; None: the topic's name and `-value`
    proto: str | None = Field(default=None, min_length=1)  # protobuf: a .proto file, or a compiled descriptor set
    message: ProtobufName | None = None
    framed: bool = False  # protobuf behind a registry's five bytes and the message's place
    key: FieldName
    time: FieldName
    time_unit: Literal["iso8601", "s", "ms", "us"] = "iso8601"

    @model_validator(mode="after")
    def _format_is_described(self) -> Self:
        refuse(format_findings(self))
        return self


class Impressions(Topic):
    fields: tuple[EventField, ...] = Field(min_length=1)
    weight: FieldName | None = None


class Condition(Part):
    """Which events of a topic are the feedback meant: those whose ``field`` is large enough, or says a word."""

    field: FieldPath
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    equals: str | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if (self.at_least is None) == (self.equals is None):
            raise ValueError("wanted exactly one of `at_least`, `equals`")
        return self


class Feedback(Topic):
    """One kind of feedback, which becomes one label; without windows of its own it has those of `join`."""

    name: FieldName
    when: Condition | None = None
    window: Span | None = None
    correction_window: Span | None = None


class Events(Part):
    impressions: Impressions
    feedback: tuple[Feedback, ...] = Field(min_length=1, max_length=16)


class Join(Part):
    """How long to wait for feedback, in event time, and what to make of it."""

    window: Span = Duration("10m")
    correction_window: Span = Duration("1h")
    out_of_orderness: Duration = Duration("30s")
    skew: Duration = Duration("1s")
    future_bound: Span = Duration("60s")
    idle_timeout: Span = Duration("30s")
    # A repeat of an event is told as one for at least so long after it; each key is kept in the join's state meanwhile.
    repeat_window: Span = Duration("1h")
    labels: Literal["after_window", "aligned", "immediate"] = "after_window"
    start: Literal["earliest", "now"] = "earliest"
    keep_negatives: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse(join_findings(self))
        return self

    def windows(self, feedback: Feedback) -> tuple[Duration, Duration]:
        """The window and the correction window of one kind of feedback."""
        return feedback.window or self.window, feedback.correction_window or self.correction_window


class Samples(Part):
    """The topics that Springtide owns.

    ``of`` names another model whose join makes the samples, of the same events: several models learn from one topic.
    """

    of: Name | None = None

    partitions: int = Field(default=1, ge=1)
    replication: int = Field(default=1, ge=1)
    retention: Span = Duration("7d")
    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
