"""The join in SQL: from two streams of valid events to verdicts, corrections and what came too late."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass

from infra import spec
from streaming import sample, topics
from streaming.sql_sources import Source
from streaming.sql_text import (
    create_view,
    identifier,
    interval,
    json_object,
    keep_first,
    literal,
    wire_time,
)


@dataclass(frozen=True)
class Join:
    """Impressions, one kind of feedback, and how long to wait.

    Args:
        impressions: The source of impressions.
        feedback: The source of feedback.
        label: The feedback's name.
        pipeline: Windows, and the sample's columns.
    """

    impressions: Source
    feedback: Source
    label: str
    pipeline: spec.Pipeline


VERDICTS = "verdicts and late impressions"
CORRECTIONS = "corrections and orphans"

_DISTINCT_IMPRESSIONS = "distinct impressions"
_IMPRESSION = "impressions told late"
_DISTINCT_FEEDBACK = "distinct feedback"
_FEEDBACK = "feedback with its watermark"
_PRIMARY = "primary pairs"
_SECONDARY = "secondary pairs"
_FIRST = "first feedback"
_CANDIDATES = "verdict candidates"


def views(join: Join) -> list[str]:
    """Every view of the join, in order of definition.

    Two interval joins over the same de-duplicated inputs. The primary one pairs an impression with feedback inside the
    window, or with nothing once event time has passed the window: the verdict. The secondary one pairs feedback with
    its impression inside the correction window, or with nothing: what the verdict could not know, and orphans. Feedback
    whose window is closed already by its own topic's watermark counts as after the verdict, in both, so that every
    feedback takes one of the two ways and none takes both.

    Of several feedbacks on one impression the first to arrive decides; the others are repeats and end here.

    An impression whose window is closed already when it comes is late: it goes through the primary join, so that only
    one de-duplication is needed, but is paired with nothing in either, and is told apart behind it.

    The results :data:`VERDICTS` and :data:`CORRECTIONS` hold `#topic`, `#key` and `#value`.
    """
    return [
        create_view(_DISTINCT_IMPRESSIONS, _distinct(join.impressions, ("#key",))),
        create_view(_IMPRESSION, _impressions_told_late(join)),
        create_view(_DISTINCT_FEEDBACK, _distinct(join.feedback, ("#key", "#ts"))),
        create_view(_FEEDBACK, _with_watermark(_DISTINCT_FEEDBACK)),
        create_view(_PRIMARY, _primary_pairs(join)),
        create_view(_SECONDARY, _secondary_pairs(join)),
        create_view(_FIRST, _first_feedback(join)),
        create_view(_CANDIDATES, _candidates(join)),
        create_view(VERDICTS, keep_first(identifier(_CANDIDATES), ("#topic", "#key", "#value"), ("#key",))),
        create_view(
            CORRECTIONS, f"SELECT `#topic`, `#key`, `#value` FROM {identifier(_FIRST)} WHERE `#kind` <> {_CLICK}"
        ),
    ]


_CLICK = literal(sample.CLICK)
_CORRECTION = literal(sample.CORRECTED)
_ORPHAN = literal("orphan")
_NO_TIME = "CAST(NULL AS TIMESTAMP_LTZ(3))"


def _distinct(source: Source, same: tuple[str, ...]) -> str:
    """The first copy of each event. Feedback is told apart by its time as well, for one too early hides none after."""
    return keep_first(identifier(source.name), ("#key", "#ts", "#received", *source.columns), same)


def _with_watermark(view: str) -> str:
    """Adds how far event time had come. It stands behind the de-duplication, since in front of it the planner would
    ask each topic alone, without the heartbeats, and the join could be further on than this says."""
    return f"SELECT *, CURRENT_WATERMARK(`#ts`) AS `#watermark` FROM {identifier(view)}"


def _impressions_told_late(join: Join) -> str:
    late = f"COALESCE({_closes('`#ts`', join)} <= CURRENT_WATERMARK(`#ts`), FALSE)"
    return f"SELECT *, {late} AS `#late` FROM {identifier(_DISTINCT_IMPRESSIONS)}"


def _primary_pairs(join: Join) -> str:
    skew, window = interval(join.pipeline.join.skew), interval(join.pipeline.join.window)
    return (
        f"SELECT {_both('i', join)}, f.`#key` AS `#feedback`, i.`#late`\n"
        f"FROM {identifier(_IMPRESSION)} AS i LEFT JOIN {identifier(_FEEDBACK)} AS f ON i.`#key` = f.`#key`\n"
        f"  AND f.`#ts` BETWEEN i.`#ts` - {skew} AND i.`#ts` + {window}\n"
        f"  AND (f.`#watermark` IS NULL OR f.`#watermark` < {_closes('i.`#ts`', join)}) AND NOT i.`#late`"
    )


def _secondary_pairs(join: Join) -> str:
    skew, window = interval(join.pipeline.join.skew), interval(join.pipeline.join.correction_window)
    return (
        f"SELECT {_both('f', join)}, i.`#key` AS `#impression`, f.`#watermark`, PROCTIME() AS `#arrival`\n"
        f"FROM {identifier(_FEEDBACK)} AS f LEFT JOIN {identifier(_IMPRESSION)} AS i ON i.`#key` = f.`#key`\n"
        f"  AND i.`#ts` BETWEEN f.`#ts` - {window} AND f.`#ts` + {skew} AND NOT i.`#late`"
    )


def _both(side: str, join: Join) -> str:
    """The columns of a pair; at most one time in a row may be the event time, so both become plain times."""
    return ", ".join(
        [
            f"{side}.`#key` AS `#key`",
            "CAST(i.`#ts` AS TIMESTAMP_LTZ(3)) AS `#its`",
            "CAST(f.`#ts` AS TIMESTAMP_LTZ(3)) AS `#fts`",
            "i.`#received` AS `#ireceived`",
            "f.`#received` AS `#freceived`",
            *(f"i.{identifier(column)}" for column in join.impressions.columns),
        ]
    )


def _first_feedback(join: Join) -> str:
    """The first feedback of each impression, and every orphan, written out.

    Without the first rule a second click behind the window would make an impression positive that is positive already.
    """
    closes = _closes("`#its`", join)
    kind = (
        f"CASE WHEN `#impression` IS NULL THEN {_ORPHAN}"
        f" WHEN `#fts` <= {closes} AND (`#watermark` IS NULL OR `#watermark` < {closes}) THEN {_CLICK}"
        f" ELSE {_CORRECTION} END"
    )
    once = f"CASE WHEN `#impression` IS NULL THEN {wire_time('`#fts`')} ELSE '' END"
    pairs = f"(SELECT *, {kind} AS `#kind`, {once} AS `#once` FROM {identifier(_SECONDARY)})"
    columns = ("#key", "#kind", "#its", "#fts", "#ireceived", "#freceived", *join.impressions.columns)
    first = keep_first(pairs, columns, ("#key", "#once"))
    value = (
        f"CASE WHEN `#kind` = {_ORPHAN} THEN {_late_object(_ORPHAN, join, _NO_TIME, '`#fts`')}\n"
        f"  WHEN `#kind` = {_CLICK} THEN {_sample_object(join, _CLICK, 1, sample.VERDICT)}\n"
        f"  ELSE {_sample_object(join, _CORRECTION, 1, sample.CORRECTION)} END"
    )
    topic = f"CASE WHEN `#kind` = {_ORPHAN} THEN {_late(join)} ELSE {_samples(join)} END"
    return f"SELECT {topic} AS `#topic`, `#key`, `#kind`, {value} AS `#value` FROM (\n{first}\n)"


def _candidates(join: Join) -> str:
    """Verdicts of the primary join, and clicks of the secondary one.

    The two joins hear of the same event time at slightly different moments; where an impression comes so late that
    only the second still holds its click, the click wins, for the other's verdict comes a window later.
    """
    timeout = literal(sample.TIMEOUT)
    late = _late_object(literal("late_impression"), join, "`#its`", _NO_TIME)
    value = (
        f"CASE WHEN `#late` THEN {late}\n"
        f"  WHEN `#feedback` IS NULL THEN {_sample_object(join, timeout, 0, sample.VERDICT)}\n"
        f"  ELSE {_sample_object(join, _CLICK, 1, sample.VERDICT)} END"
    )
    topic = f"CASE WHEN `#late` THEN {_late(join)} ELSE {_samples(join)} END"
    return (
        "SELECT *, PROCTIME() AS `#arrival` FROM (\n"
        f"  SELECT {topic} AS `#topic`, `#key`, {value} AS `#value` FROM {identifier(_PRIMARY)}\n"
        "  UNION ALL\n"
        f"  SELECT `#topic`, `#key`, `#value` FROM {identifier(_FIRST)} WHERE `#kind` = {_CLICK}\n)"
    )


def _samples(join: Join) -> str:
    return literal(topics.samples(join.pipeline.name))


def _late(join: Join) -> str:
    return literal(topics.late(join.pipeline.name))


def _closes(time: str, join: Join) -> str:
    return f"{time} + {interval(join.pipeline.join.window)}"


def _late_object(reason: str, join: Join, impression: str, feedback: str) -> str:
    name = f"CASE WHEN {reason} = {_ORPHAN} THEN {literal(join.label)} END"
    return json_object(
        [
            ("reason", reason),
            ("key", "`#key`"),
            ("feedback", name),
            ("impression_ts", wire_time(impression)),
            ("feedback_ts", wire_time(feedback)),
        ]
    )


def _sample_object(join: Join, kind: str, label: int, emission: int) -> str:
    """A sample as JSON: one expression per column of :func:`streaming.sample.columns`."""
    answered = kind != literal(sample.TIMEOUT)
    received = "GREATEST(`#ireceived`, `#freceived`)" if answered else "`#ireceived`"
    expressions = {
        "sample_id": f"`#key` || {literal(sample.sample_id('', join.label, emission))}",
        "kind": kind,
        sample.label(join.label): str(label),
        "impression_ts": wire_time("`#its`"),
        "received_ts": wire_time(received),
        "known_ts": wire_time("`#fts`" if answered else _closes("`#its`", join)),
        "weight": _weight(join),
        "down_sampling_rate": "CAST(1 AS DOUBLE)",
    }
    return json_object(
        (column.name, expressions.get(column.name, identifier(column.name)))
        for column in sample.columns(join.pipeline.events)
    )


def _weight(join: Join) -> str:
    probe = f"CAST({join.pipeline.probe.weight!r} AS DOUBLE)"
    own = "COALESCE(`#weight`, CAST(1 AS DOUBLE))" if join.impressions.weight is not None else "CAST(1 AS DOUBLE)"
    is_probe = f"SUBSTRING(`#key`, 1, {len(topics.PROBE_PREFIX)}) = {literal(topics.PROBE_PREFIX)}"
    return f"CASE WHEN {is_probe} THEN {probe} ELSE {own} END"
