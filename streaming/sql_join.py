"""The join in SQL: from impressions and one kind of feedback to verdicts, corrections, and what came late or twice."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from infra import spec
from infra.units import Duration
from streaming import sample, topics
from streaming.sql_inputs import feedback_view, impressions_view
from streaming.sql_rows import NO_TIME, closes, kept_negative, late_object, sample_object
from streaming.sql_sources import Source
from streaming.sql_text import create_view, identifier, interval, keep_first, literal


@dataclass(frozen=True)
class Join:
    """Impressions, one kind of feedback, and what to make of them.

    Args:
        impressions: The source of impressions.
        feedback: The source of feedback.
        kind: The feedback as the pipeline describes it.
        pipeline: Windows, label mode, and the sample's columns.
        tells_repeats: Whether this join reports repeated impressions; of several kinds of feedback one does.
        first_emission: Added to the number at the end of every sample id.
    """

    impressions: Source
    feedback: Source
    kind: spec.Feedback
    pipeline: spec.Pipeline
    tells_repeats: bool = True
    first_emission: int = 0

    @cached_property
    def window(self) -> Duration:
        return self.pipeline.join.windows(self.kind)[0]

    @cached_property
    def correction_window(self) -> Duration:
        return self.pipeline.join.windows(self.kind)[1]

    @property
    def verdicts(self) -> str:
        """The view of verdicts and of impressions that get none: `#topic`, `#key`, `#value`, `#known`.

        `#known` is when a row could be made: its events were received, and event time, if it waited for that, had come.
        """
        return f"{self.kind.name}: verdicts"

    @property
    def corrections(self) -> str:
        """The view of what feedback says beside the verdicts, of the same columns."""
        return f"{self.kind.name}: corrections"

    def view(self, name: str) -> str:
        return f"{self.kind.name}: {name}"


# What stands in `#fate` of an impression.
_JOINED, _LATE, _REPEATED = "joined", "late_impression", "repeat"
_ORPHAN = "orphan"


def views(join: Join) -> list[str]:
    """Every view of the join, in order of definition.

    Two interval joins over the same numbered inputs. The primary one pairs an impression with feedback inside the
    window, or with nothing once event time has passed the window: the verdict. The secondary one pairs feedback with
    its impression inside the correction window, or with nothing: what the verdict could not know, and orphans. Feedback
    whose window is closed already by its own topic's watermark counts as after the verdict, in both, so that every
    feedback takes one of the two ways and none takes both.

    Of several feedbacks on one impression the first to arrive decides, whether the impression is there already or they
    wait for it together; the others are repeats and are told as such.

    An impression that is a repeat, or whose window is closed already when it comes, goes through the primary join, so
    that the inputs are numbered only once, but is paired with nothing in either, and is told apart behind it.

    With labels that are known at once there is no verdict to wait for, and no primary join.
    """
    found = [create_view(join.view("impressions"), _with_fate(join))]
    if join.pipeline.join.labels != "immediate":
        found.append(create_view(join.view("primary pairs"), _primary_pairs(join)))
        found.append(create_view(join.view("primary outcomes"), _primary_outcomes(join)))
    return [
        *found,
        create_view(join.view("secondary pairs"), _secondary_pairs(join)),
        create_view(join.view("counted pairs"), _counted_pairs(join)),
        create_view(join.view("feedback outcomes"), _feedback_outcomes(join)),
        create_view(join.verdicts, _VERDICTS[join.pipeline.join.labels](join)),
        create_view(join.corrections, _corrections(join)),
    ]


def _with_fate(join: Join) -> str:
    late = f"COALESCE({closes('`#ts`', join.window)} <= `#watermark`, FALSE)"
    fate = (
        f"CASE WHEN `#number` > 1 THEN {literal(_REPEATED)} WHEN {late} THEN {literal(_LATE)}"
        f" ELSE {literal(_JOINED)} END"
    )
    names = ("#key", "#ts", "#received", "#partition", "#offset", "#watermark", *join.impressions.columns)
    columns = ", ".join(map(identifier, names))
    rows = f"SELECT *, {fate} AS `#fate` FROM {identifier(impressions_view(join.impressions))}"
    # The join keeps what it is given for a window: bytes only of those that it is given to be told apart.
    body = f"CASE WHEN `#fate` <> {literal(_JOINED)} THEN `#body` END AS `#body`"
    return f"SELECT {columns}, `#fate`, {body} FROM (\n{rows}\n)"


def _primary_pairs(join: Join) -> str:
    skew, window = interval(join.pipeline.join.skew), interval(join.window)
    columns = _pair("i", join)
    second = _came_second(join, "i.`#ts`", "i.`#watermark`", "f.")
    # In this mode the verdict leaves with the watermark, which must stay known behind the join.
    time = "i.`#ts` AS `#rowtime`, " if join.pipeline.join.labels == "aligned" else ""
    return (
        f"SELECT {time}{columns}, f.`#key` AS `#feedback`, i.`#fate`, i.`#partition`, i.`#offset`, i.`#body`\n"
        f"FROM {identifier(join.view('impressions'))} AS i\n"
        f"LEFT JOIN {identifier(feedback_view(join.feedback))} AS f ON i.`#key` = f.`#key`\n"
        f"  AND f.`#ts` BETWEEN i.`#ts` - {skew} AND i.`#ts` + {window}\n"
        f"  AND (f.`#watermark` IS NULL OR f.`#watermark` < {closes('i.`#ts`', join.window)})\n"
        f"  AND i.`#fate` = {literal(_JOINED)} AND NOT {second}"
    )


def _secondary_pairs(join: Join) -> str:
    skew, window = interval(join.pipeline.join.skew), interval(join.correction_window)
    return (
        f"SELECT {_pair('f', join)}, i.`#key` AS `#impression`, f.`#watermark`,\n"
        "  i.`#watermark` AS `#iwatermark`, f.`#below`, f.`#above`, f.`#partition`, f.`#offset`, f.`#body`,\n"
        "  PROCTIME() AS `#arrival`\n"
        f"FROM {identifier(feedback_view(join.feedback))} AS f\n"
        f"LEFT JOIN {identifier(join.view('impressions'))} AS i ON i.`#key` = f.`#key`\n"
        f"  AND i.`#ts` BETWEEN f.`#ts` - {window} AND f.`#ts` + {skew} AND i.`#fate` = {literal(_JOINED)}"
    )


def _pair(side: str, join: Join) -> str:
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


def _came_second(join: Join, impression: str, watermark: str, prefix: str = "") -> str:
    """Whether another feedback that fits the impression came before this one, and cannot have ended as an orphan.

    Two that wait for their impression leave the interval join in no order; this is known before they enter it. If any
    earlier one fits, the nearest in event time on its side does, since this one fits as well. Where event time had
    passed the other one when the impression came, it may be gone, and the count behind the join decides.
    """
    skew, window = interval(join.pipeline.join.skew), interval(join.correction_window)
    tests = [
        f"({other} BETWEEN {impression} - {skew} AND {impression} + {window}"
        f" AND ({watermark} IS NULL OR {watermark} < {other} + {skew}))"
        for other in (f"{prefix}`#below`", f"{prefix}`#above`")
    ]
    return f"COALESCE({' OR '.join(tests)}, FALSE)"


def _counted_pairs(join: Join) -> str:
    """Counts the feedback of each impression, and the copies of each orphan."""
    second = _came_second(join, "`#its`", "`#iwatermark`")
    orphan = "`#impression` IS NULL"
    # An orphan's copies have its time too; feedback that came second counts for nothing.
    once = f"CASE WHEN {orphan} THEN CAST(`#fts` AS STRING) WHEN {second} THEN 'second' ELSE 'first' END"
    ready = f"SELECT *, {once} AS `#once` FROM {identifier(join.view('secondary pairs'))}"
    return (
        f"SELECT *, COUNT(*) OVER (PARTITION BY `#key`, `#once` ORDER BY `#arrival`) AS `#number`\nFROM (\n{ready}\n)"
    )


def _feedback_outcomes(join: Join) -> str:
    """What becomes of each feedback, written out: a click, a correction, an orphan or a repeat."""
    end = closes("`#its`", join.window)
    decided = (
        f"CASE WHEN `#number` > 1 OR `#once` = 'second' THEN {literal(_REPEATED)}"
        f" WHEN `#impression` IS NULL THEN {literal(_ORPHAN)}"
        f" WHEN `#fts` <= {end} AND (`#watermark` IS NULL OR `#watermark` < {end}) THEN {literal(sample.CLICK)}"
        f" ELSE {literal(sample.CORRECTED)} END"
    )
    told = late_object(
        "`#kind`",
        feedback=literal(join.kind.name),
        topic=literal(join.kind.topic),
        impression="`#its`",
        event="`#fts`",
    )
    written = {
        sample.CLICK: _positive(join, sample.CLICK, _emission(join)),
        sample.CORRECTED: _positive(join, _corrected(join), sample.CORRECTION),
    }
    cases = "\n".join(f"  WHEN {literal(kind)} THEN {value}" for kind, value in written.items())
    late = f"`#kind` IN ({literal(_ORPHAN)}, {literal(_REPEATED)})"
    topic = f"CASE WHEN {late} THEN {_late(join)} ELSE {_samples(join)} END"
    rows = f"SELECT *, {decided} AS `#kind` FROM {identifier(join.view('counted pairs'))}"
    return (
        f"SELECT {topic} AS `#topic`, `#key`, GREATEST(`#fts`, `#freceived`) AS `#known`, `#kind`,\n"
        f"  CASE `#kind`\n{cases}\n  ELSE {told} END AS `#value`\nFROM (\n{rows}\n)"
    )


def _corrections(join: Join) -> str:
    """All but the clicks inside their window: these are verdicts. Without verdicts to wait for, those too."""
    every = f"SELECT `#topic`, `#key`, `#value`, `#known` FROM {identifier(join.view('feedback outcomes'))}"
    if join.pipeline.join.labels == "immediate":
        return every
    return f"{every} WHERE `#kind` <> {literal(sample.CLICK)}"


def _after_window(join: Join) -> str:
    """Verdicts of the primary join, and clicks of the secondary one; the first of the two to arrive.

    The two joins hear of the same event time at slightly different moments; where an impression comes so late that
    only the second still holds its click, the click wins, for the other's verdict comes a window later.
    """
    clicks = (
        f"SELECT `#topic`, `#key`, '' AS `#once`, `#value`, `#known` FROM"
        f" {identifier(join.view('feedback outcomes'))} WHERE `#kind` = {literal(sample.CLICK)}"
    )
    verdicts = f"SELECT * FROM {identifier(join.view('primary outcomes'))}"
    both = f"(SELECT *, PROCTIME() AS `#arrival` FROM (\n{verdicts}\nUNION ALL\n{clicks}\n))"
    return keep_first(both, ("#topic", "#key", "#value", "#known"), ("#key", "#once"))


def _aligned(join: Join) -> str:
    """Verdicts of the primary join, each when event time has passed its window.

    What is late already goes around the wait, which would drop it, and does not come out of the join for that: a
    second reader of its rows would be given a join of its own.
    """
    wanted = ("#topic", "#key", "#value", "#known")
    joined = f"(SELECT * FROM {identifier(join.view('primary outcomes'))} WHERE `#once` = '')"
    told = _told(join, _alone(join, f"WHERE `#fate` <> {literal(_JOINED)}"), "CAST(NULL AS STRING)", NO_TIME, ())
    return f"{keep_first(joined, wanted, ('#key',), order='#rowtime')}\nUNION ALL\n{told}"


def _immediate(join: Join) -> str:
    """Every impression at once, as not yet answered."""
    shown = sample_object(
        join.pipeline,
        join.kind,
        kind=sample.IMPRESSION,
        label=0,
        emission=join.first_emission + sample.VERDICT,
        received="`#ireceived`",
        known="`#its`",
    )
    return _told(join, _alone(join), shown, "`#ireceived`", ())


def _alone(join: Join, where: str = "") -> str:
    """Impressions that wait for nothing, with the columns of a pair."""
    columns = ", ".join(map(identifier, ("#key", "#fate", "#partition", "#offset", "#body", *join.impressions.columns)))
    times = "CAST(`#ts` AS TIMESTAMP_LTZ(3)) AS `#its`, `#received` AS `#ireceived`"
    return f"SELECT {columns}, {times} FROM {identifier(join.view('impressions'))} {where}"


_VERDICTS = {"after_window": _after_window, "aligned": _aligned, "immediate": _immediate}


def _primary_outcomes(join: Join) -> str:
    aligned = join.pipeline.join.labels == "aligned"
    end = closes("`#its`", join.window)
    timeout = sample_object(
        join.pipeline,
        join.kind,
        kind=sample.TIMEOUT,
        label=0,
        emission=join.first_emission + sample.VERDICT,
        received="`#ireceived`",
        known=end,
    )
    answered = _positive(join, sample.CLICK, sample.VERDICT, known=end if aligned else "`#fts`")
    value = f"CASE WHEN `#feedback` IS NULL THEN {timeout}\n  ELSE {answered} END"
    answer = f"GREATEST({end if aligned else '`#fts`'}, `#freceived`)"
    known = f"CASE WHEN `#feedback` IS NULL THEN GREATEST({end}, `#ireceived`) ELSE {answer} END"
    where = f"`#feedback` IS NOT NULL OR `#fate` <> {literal(_JOINED)} OR {kept_negative(join.pipeline)}"
    rows = f"SELECT * FROM {identifier(join.view('primary pairs'))} WHERE {where}"
    return _told(join, rows, value, known, ("#once", *(("#rowtime",) if aligned else ())))


def _told(join: Join, rows: str, value: str, known: str, more: tuple[str, ...]) -> str:
    """Impressions with their verdict, or with the reason why they get none."""
    joined = f"`#fate` = {literal(_JOINED)}"
    told = late_object(
        "`#fate`",
        feedback=f"CASE WHEN `#fate` = {literal(_LATE)} THEN {literal(join.kind.name)} END",
        topic=literal(join.pipeline.events.impressions.topic),
        impression="`#its`",
        event=NO_TIME,
    )
    place = "CAST(`#partition` AS STRING) || '@' || CAST(`#offset` AS STRING)"
    once = f"CASE WHEN {joined} THEN '' ELSE {place} END"
    extra = {"#once": f"{once} AS `#once`", "#rowtime": "`#rowtime`"}
    columns = "".join(f", {extra[name]}" for name in more)
    topic = f"CASE WHEN {joined} THEN {_samples(join)} ELSE {_late(join)} END"
    repeats = "" if join.tells_repeats else f"\nWHERE `#fate` <> {literal(_REPEATED)}"
    return (
        f"SELECT {topic} AS `#topic`, `#key`{columns},\n"
        f"  CASE WHEN {joined} THEN {value}\n  ELSE {told} END AS `#value`,\n"
        f"  CASE WHEN {joined} THEN {known} ELSE `#ireceived` END AS `#known`\nFROM (\n{rows}\n){repeats}"
    )


def _positive(join: Join, kind: str, emission: int, known: str = "`#fts`") -> str:
    return sample_object(
        join.pipeline,
        join.kind,
        kind=kind,
        label=1,
        emission=join.first_emission + emission,
        received="GREATEST(`#ireceived`, `#freceived`)",
        known=known,
    )


def _emission(join: Join) -> int:
    return sample.CORRECTION if join.pipeline.join.labels == "immediate" else sample.VERDICT


def _corrected(join: Join) -> str:
    return sample.CLICK if join.pipeline.join.labels == "immediate" else sample.CORRECTED


def _samples(join: Join) -> str:
    return literal(topics.samples(join.pipeline.name))


def _late(join: Join) -> str:
    return literal(topics.late(join.pipeline.name))
