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

# Flink keeps a row to the end of its bound and one step of its clock longer.
_CLOCK_STEP_MS = 1


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

    @cached_property
    def held(self) -> Duration:
        """How long feedback waits for its impression, in event time: until any that comes now would be late."""
        return Duration(f"{self.pipeline.join.skew.ms + self.window.ms}ms")

    @property
    def outcomes(self) -> str:
        """The view of everything that the join says: `#topic`, `#key`, `#value`, `#known`.

        `#known` is when a row could be made: its events were received, and event time, if it waited for that, had come.
        """
        return f"{self.kind.name}: outcomes"

    def view(self, name: str) -> str:
        return f"{self.kind.name}: {name}"


# What stands in `#fate` of an impression.
_JOINED, _LATE, _REPEATED = "joined", "late_impression", "repeat"
_ORPHAN = "orphan"


def views(join: Join) -> list[str]:
    """Every view of the join, in order of definition.

    Two interval joins over the same numbered inputs. The secondary one pairs feedback with its impression inside the
    correction window, or with nothing once event time has passed the last impression that it could belong to: what
    becomes of each feedback. The primary one pairs an impression with feedback inside the window, or with nothing once
    event time has passed the window: whether a negative is due.

    Each join merges its two inputs in an order of its own, so no pair may depend on that order. None does: feedback is
    held until every impression that it fits would come too late, and what is late already by its own topic's event
    time is known before either join. What the primary one pairs, the secondary one pairs as well, so that an
    impression without a negative has its positive.

    Of several feedbacks on one impression the first to arrive decides, whether the impression is there already or they
    wait for it together; the others are repeats and are told as such.

    An impression that is a repeat, or whose window is closed already when it comes, goes through the primary join, so
    that the inputs are numbered only once, but is paired with nothing in either, and is told apart behind it.

    With labels that are known at once there is no verdict to wait for, and no primary join.
    """
    found = [create_view(join.view("impressions"), _with_fate(join))]
    if join.pipeline.join.labels != "immediate":
        found.append(create_view(join.view("primary pairs"), _primary_pairs(join)))
        found.append(create_view(join.view("impression outcomes"), _impression_outcomes(join)))
    return [
        *found,
        create_view(join.view("secondary pairs"), _secondary_pairs(join)),
        create_view(join.view("feedback outcomes"), _feedback_outcomes(join)),
        create_view(join.outcomes, _OUTCOMES[join.pipeline.join.labels](join)),
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
    columns = _pair("i", join)
    # In this mode the verdict leaves with the watermark, which must stay known behind the join.
    time = "i.`#ts` AS `#rowtime`, " if join.pipeline.join.labels == "aligned" else ""
    return (
        f"SELECT {time}{columns}, f.`#key` AS `#feedback`, i.`#fate`, i.`#partition`, i.`#offset`, i.`#body`\n"
        f"FROM {identifier(join.view('impressions'))} AS i\n"
        f"LEFT JOIN {identifier(feedback_view(join.feedback))} AS f ON i.`#key` = f.`#key`\n"
        f"  AND f.`#ts` BETWEEN i.`#ts` - {interval(join.held)} AND i.`#ts` + {interval(join.window)}\n"
        f"  AND f.`#time` >= i.`#ts` - {interval(join.pipeline.join.skew)}\n"
        f"  AND (f.`#watermark` IS NULL OR f.`#watermark` < {closes('i.`#ts`', join.window)})\n"
        f"  AND i.`#fate` = {literal(_JOINED)} AND NOT {_came_second(join, 'i.`#ts`', 'f.')}"
    )


def _secondary_pairs(join: Join) -> str:
    # A checkpoint may be taken when event time stands just at the end: this join must still hold then what the other
    # does, for after a restart event time may stand before it once more.
    held = Duration(f"{join.held.ms + _CLOCK_STEP_MS}ms")
    return (
        f"SELECT {_pair('f', join)}, i.`#key` AS `#impression`, f.`#watermark`,\n"
        "  f.`#below`, f.`#above`, f.`#partition`, f.`#offset`, f.`#body`\n"
        f"FROM {identifier(feedback_view(join.feedback))} AS f\n"
        f"LEFT JOIN {identifier(join.view('impressions'))} AS i ON i.`#key` = f.`#key`\n"
        f"  AND i.`#ts` BETWEEN f.`#ts` - {interval(join.correction_window)} AND f.`#ts` + {interval(held)}\n"
        f"  AND i.`#ts` <= f.`#time` + {interval(join.pipeline.join.skew)} AND i.`#fate` = {literal(_JOINED)}"
    )


def _pair(side: str, join: Join) -> str:
    """The columns of a pair; at most one time in a row may be the event time, so both become plain times."""
    return ", ".join(
        [
            f"{side}.`#key` AS `#key`",
            "CAST(i.`#ts` AS TIMESTAMP_LTZ(3)) AS `#its`",
            "f.`#time` AS `#fts`",
            "i.`#received` AS `#ireceived`",
            "f.`#received` AS `#freceived`",
            *(f"i.{identifier(column)}" for column in join.impressions.columns),
        ]
    )


def _came_second(join: Join, impression: str, prefix: str = "") -> str:
    """Whether another feedback that fits the impression came before this one, or a copy of it did.

    Two that wait for their impression leave the interval join in no order; this is known before they enter it. If any
    earlier one fits, the nearest in event time on its side does, since this one fits as well. It was paired then: it
    waited for the impression, or came while that was held, as this one did later.
    """
    skew, window = interval(join.pipeline.join.skew), interval(join.correction_window)
    tests = [
        f"{other} BETWEEN {impression} - {skew} AND {impression} + {window}"
        for other in (f"{prefix}`#below`", f"{prefix}`#above`")
    ]
    return f"COALESCE({' OR '.join(tests)}, FALSE)"


def _feedback_outcomes(join: Join) -> str:
    """What becomes of each feedback, written out: a click, a correction, an orphan or a repeat.

    `#verdict` is TRUE for a negative verdict, FALSE for a positive one and null for all else. `#otherwise` is what a
    click is where its impression has a negative verdict already.
    """
    end = closes("`#its`", join.window)
    decided = (
        f"CASE WHEN {_came_second(join, '`#its`')} OR COALESCE(`#below` = `#fts`, FALSE) THEN {literal(_REPEATED)}"
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
    correction = _positive(join, _corrected(join), sample.CORRECTION)
    written = {sample.CLICK: _positive(join, sample.CLICK, _emission(join)), sample.CORRECTED: correction}
    cases = "\n".join(f"  WHEN {literal(kind)} THEN {value}" for kind, value in written.items())
    late = f"`#kind` IN ({literal(_ORPHAN)}, {literal(_REPEATED)})"
    verdict = f"`#kind` = {literal(sample.CLICK)}"
    given_up = f"GREATEST(`#fts` + {interval(join.held)}, `#freceived`)"
    paired = "GREATEST(`#fts`, `#freceived`, `#ireceived`)"
    rows = f"SELECT *, {decided} AS `#kind` FROM {identifier(join.view('secondary pairs'))}"
    return (
        f"SELECT CASE WHEN {late} THEN {_late(join)} ELSE {_samples(join)} END AS `#topic`, `#key`,\n"
        f"  CASE WHEN {verdict} THEN FALSE END AS `#verdict`,\n"
        f"  CASE `#kind`\n{cases}\n  ELSE {told} END AS `#value`,\n"
        f"  CASE WHEN {verdict} THEN {correction} END AS `#otherwise`,\n"
        f"  CASE WHEN `#impression` IS NULL THEN {given_up} ELSE {paired} END AS `#known`\nFROM (\n{rows}\n)"
    )


# What every outcome says, and what those say that a verdict of before may change.
_ROW = ("#topic", "#key", "#value", "#known")
_COLUMNS = (*_ROW, "#verdict", "#otherwise")


def _after_window(join: Join) -> str:
    """Negatives of the primary join and everything of the secondary one; the first verdict of a key is the only one."""
    first = "(`#verdict` IS NULL OR `#number` = 1)"
    return _one_verdict(_every(join, "impression outcomes"), join, "`#verdict`", first, "`#otherwise` IS NOT NULL")


def _aligned(join: Join) -> str:
    """Verdicts of the primary join, each when event time has passed its window, and what is not a click of the other.

    What is late already goes around the wait, which would drop it, and does not come out of the join for that: a
    second reader of its rows would be given a join of its own.
    """
    told = _told(join, _alone(join, f"WHERE `#fate` <> {literal(_JOINED)}"), "CAST(NULL AS STRING)", NO_TIME)
    waited = keep_first(identifier(join.view("impression outcomes")), _COLUMNS, ("#key",), order="#rowtime")
    impressions = f"{waited}\nUNION ALL\nSELECT {_names(_COLUMNS)} FROM (\n{told}\n)"
    negatives = "CASE WHEN `#verdict` THEN 1 END"
    return _one_verdict(impressions, join, negatives, "`#verdict` IS NOT FALSE", "`#number` > 0")


def _one_verdict(impressions: str, join: Join, counted: str, holds: str, corrects: str) -> str:
    """What becomes of impressions and of feedback together, where a verdict of before may change what a click is.

    As a rule each key has one verdict anyway. Event time may stand before the window's end once more after a restart,
    though, and a click that comes then counts as in time where the negative has left: it corrects that.

    Args:
        impressions: The outcomes of impressions, of the columns of feedback's.
        join: Whose feedback it is.
        counted: An expression that is null for rows that make no difference to others of their key.
        holds: Whether a row's `#value` holds, by the `#number` of such rows so far.
        corrects: Whether else its `#otherwise` does.
    """
    rows = f"{impressions}\nUNION ALL\n{_every(join, 'feedback outcomes')}"
    arrived = f"SELECT *, PROCTIME() AS `#arrival` FROM (\n{rows}\n)"
    number = f"COUNT({counted}) OVER (PARTITION BY `#key` ORDER BY `#arrival`) AS `#number`"
    return (
        f"SELECT `#topic`, `#key`, CASE WHEN {holds} THEN `#value` ELSE `#otherwise` END AS `#value`, `#known`\n"
        f"FROM (\nSELECT *, {number}\nFROM (\n{arrived}\n)\n) WHERE {holds} OR {corrects}"
    )


def _every(join: Join, outcomes: str) -> str:
    return f"SELECT {_names(_COLUMNS)} FROM {identifier(join.view(outcomes))}"


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(map(identifier, columns))


def _immediate(join: Join) -> str:
    """Every impression at once, as not yet answered, and every feedback."""
    shown = sample_object(
        join.pipeline,
        join.kind,
        kind=sample.IMPRESSION,
        label=0,
        emission=join.first_emission + sample.VERDICT,
        received="`#ireceived`",
        known="`#its`",
    )
    impressions = _told(join, _alone(join), shown, "`#ireceived`")
    rest = f"SELECT {_names(_ROW)} FROM {identifier(join.view('feedback outcomes'))}"
    return f"SELECT {_names(_ROW)} FROM (\n{impressions}\n)\nUNION ALL\n{rest}"


def _alone(join: Join, where: str = "") -> str:
    """Impressions that wait for nothing, with the columns of a pair."""
    columns = ", ".join(map(identifier, ("#key", "#fate", "#partition", "#offset", "#body", *join.impressions.columns)))
    times = "CAST(`#ts` AS TIMESTAMP_LTZ(3)) AS `#its`, `#received` AS `#ireceived`"
    return f"SELECT {columns}, {times} FROM {identifier(join.view('impressions'))} {where}"


_OUTCOMES = {"after_window": _after_window, "aligned": _aligned, "immediate": _immediate}


def _impression_outcomes(join: Join) -> str:
    """What becomes of each impression without a click in its window; where labels are aligned, of each in time."""
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
    known = f"GREATEST({end}, `#ireceived`)"
    kept = kept_negative(join.pipeline)
    pairs = f"SELECT * FROM {identifier(join.view('primary pairs'))} WHERE"
    if join.pipeline.join.labels != "aligned":
        silent = f"{pairs} `#feedback` IS NULL AND (`#fate` <> {literal(_JOINED)} OR {kept})"
        return _told(join, silent, timeout, known)
    answered = _positive(join, sample.CLICK, sample.VERDICT, known=end)
    value = f"CASE WHEN `#feedback` IS NULL THEN {timeout}\n  ELSE {answered} END"
    known = f"CASE WHEN `#feedback` IS NULL THEN {known} ELSE GREATEST({end}, `#ireceived`, `#freceived`) END"
    in_time = f"{pairs} `#fate` = {literal(_JOINED)} AND (`#feedback` IS NOT NULL OR {kept})"
    return _told(join, in_time, value, known, negative="`#feedback` IS NULL", more="`#rowtime`, ")


def _told(join: Join, rows: str, value: str, known: str, *, negative: str = "TRUE", more: str = "") -> str:
    """Impressions with their verdict, or with the reason why they get none."""
    joined = f"`#fate` = {literal(_JOINED)}"
    told = late_object(
        "`#fate`",
        feedback=f"CASE WHEN `#fate` = {literal(_LATE)} THEN {literal(join.kind.name)} END",
        topic=literal(join.pipeline.events.impressions.topic),
        impression="`#its`",
        event=NO_TIME,
    )
    topic = f"CASE WHEN {joined} THEN {_samples(join)} ELSE {_late(join)} END"
    verdict = f"CASE WHEN {joined} AND {negative} THEN TRUE END"
    repeats = "" if join.tells_repeats else f"\nWHERE `#fate` <> {literal(_REPEATED)}"
    return (
        f"SELECT {more}{topic} AS `#topic`, `#key`,\n"
        f"  CASE WHEN {joined} THEN {value}\n  ELSE {told} END AS `#value`,\n"
        f"  CASE WHEN {joined} THEN {known} ELSE `#ireceived` END AS `#known`,\n"
        f"  {verdict} AS `#verdict`, CAST(NULL AS STRING) AS `#otherwise`\nFROM (\n{rows}\n){repeats}"
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
