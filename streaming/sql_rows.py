"""How samples and late rows are written as JSON in SQL; must not know how they were found."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from infra import spec
from infra.units import Duration
from streaming import sample, topics
from streaming.sql_text import identifier, interval, json_object, literal

NO_TIME = "CAST(NULL AS TIMESTAMP_LTZ(3))"

# A hexadecimal digest of so many digits says whether a negative is kept.
_DIGITS = 8


def sample_object(
    pipeline: spec.Pipeline,
    feedback: spec.Feedback,
    *,
    kind: str,
    label: int,
    emission: int,
    received: str,
    known: str,
) -> str:
    """A sample as JSON: one expression per column of :func:`streaming.sample.columns`.

    The row it stands in has `#key`, `#its`, and the impressions' columns.

    Args:
        pipeline: The sample's columns, and the weight of a probe.
        feedback: The kind of feedback whose label the sample carries; those of the others are null.
        kind: The sample's kind.
        label: 0 or 1.
        emission: The number behind the last dot of the sample's id.
        received: Expression for the time at which the newest event in it was received.
        known: Expression for the time at which the label could be known.
    """
    negative = kind in {sample.TIMEOUT}
    rate = repr(pipeline.join.keep_negatives)
    expressions = {
        "sample_id": f"`#key` || {literal(sample.sample_id('', feedback.name, emission))}",
        "kind": literal(kind),
        **{sample.label(each.name): "CAST(NULL AS INT)" for each in pipeline.events.feedback},
        sample.label(feedback.name): str(label),
        "impression_ts": "`#its`",
        "received_ts": received,
        "known_ts": known,
        "weight": _weight(pipeline),
        "down_sampling_rate": (
            f"CASE WHEN {is_probe()} THEN CAST(1 AS DOUBLE) ELSE CAST({rate} AS DOUBLE) END"
            if negative and pipeline.join.keep_negatives < 1
            else "CAST(1 AS DOUBLE)"
        ),
    }
    return json_object(
        (column.name, expressions.get(column.name, identifier(column.name)))
        for column in sample.columns(pipeline.events)
    )


def late_object(reason: str, *, feedback: str, topic: str, impression: str, event: str) -> str:
    """A row of the topic of what was late or repeated, as JSON; every argument is an expression.

    The row it stands in has `#key`, `#partition`, `#offset` and `#body`, those of the event itself.

    Args:
        reason: One of :data:`streaming.topics.LATE_REASONS`.
        feedback: The kind of feedback whose label it misses, or null.
        topic: The event's own topic.
        impression: Event time of the impression, or null.
        event: Event time of the feedback, or null.
    """
    return json_object(
        [
            ("reason", reason),
            ("key", "`#key`"),
            ("feedback", feedback),
            ("impression_ts", impression),
            ("feedback_ts", event),
            ("topic", topic),
            ("partition", "`#partition`"),
            ("offset", "`#offset`"),
            ("body", "`#body`"),  # bytes are written as base64
        ]
    )


def kept_negative(pipeline: spec.Pipeline) -> str:
    """Whether a negative is kept: a share of the keys, the same ones each time, and every probe."""
    share = pipeline.join.keep_negatives
    if share >= 1:
        return "TRUE"
    bound = f"{min(round(share * 16**_DIGITS), 16**_DIGITS - 1):0{_DIGITS}x}"
    return f"({is_probe()} OR SUBSTRING(MD5(`#key`), 1, {_DIGITS}) < {literal(bound)})"


def is_probe() -> str:
    """Whether `#key` is that of a synthetic impression."""
    return f"SUBSTRING(`#key`, 1, {len(topics.PROBE_PREFIX)}) = {literal(topics.PROBE_PREFIX)}"


def closes(time: str, window: Duration) -> str:
    """When the window of an impression at ``time`` closes."""
    return f"{time} + {interval(window)}"


def _weight(pipeline: spec.Pipeline) -> str:
    probe = f"CAST({pipeline.probe.weight!r} AS DOUBLE)"
    weighted = pipeline.events.impressions.weight is not None
    own = "COALESCE(`#weight`, CAST(1 AS DOUBLE))" if weighted else "CAST(1 AS DOUBLE)"
    return f"CASE WHEN {is_probe()} THEN {probe} ELSE {own} END"
