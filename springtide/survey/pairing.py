"""Which columns join two topics, and how long after its impression feedback comes; knows columns, not pipelines."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from infra.errors import Invalid
from springtide.survey.columns import Column, Table, text
from springtide.survey.times import TimeColumn, looks_like_time

# A key names one impression; some come twice, from servers that tried again.
UNIQUE: Final = 0.9
# Fewer pairs may be chance.
ENOUGH: Final = 3
# Two clocks may differ by so much before the order of two events says anything.
CLOCKS_MS: Final = 5_000
_KEY_NAME: Final = re.compile(r"(^|_)(id|key|uuid|guid)s?$|[a-z](Id|ID|Key|Uuid)$", re.I)


@dataclass(frozen=True)
class Pairing:
    """The key of two topics and what it brings together.

    Attributes:
        impression_key: The key's column among the impressions.
        feedback_key: And among the feedback.
        delays_ms: Feedback's time less its impression's, of every feedback that found one, ascending.
        feedback: How many different keys the feedback has.
        impressions: How many different keys the impressions have.
        others: Further pairs of columns that could be the key.
    """

    impression_key: str
    feedback_key: str
    delays_ms: list[float]
    feedback: int
    impressions: int
    others: tuple[tuple[str, str], ...] = ()

    @property
    def matched(self) -> int:
        """How much of the feedback found its impression."""
        return len(self.delays_ms)

    @property
    def reversed_share(self) -> bool:
        """Whether it looks exchanged: of feedback nearly all has an impression, of impressions only some have any."""
        return self.feedback > self.impressions

    def quantile_ms(self, share: float) -> float:
        """The delay that ``share`` of the feedback does not exceed."""
        return self.delays_ms[max(0, math.ceil(share * len(self.delays_ms)) - 1)]


def pair(shown: Table, shown_time: TimeColumn, feedback: Table, feedback_time: TimeColumn) -> Pairing:
    """The columns whose values bring most feedback to an impression that it can belong to.

    Raises:
        Invalid: There are none, or they say that the topics were exchanged.
    """
    found = sorted(_pairs(shown, shown_time, feedback, feedback_time), key=_rank)
    if not found:
        raise _no_key(shown, feedback)
    best, *others = found
    middle = statistics.median(best.delays_ms)
    if best.quantile_ms(0.9) < 0 and (best.reversed_share or middle < -CLOCKS_MS):
        raise _swapped(
            shown, feedback, f"by `{best.impression_key}` the feedback comes {-middle / 1000:.3g} s before (p50)"
        )
    names = tuple((each.impression_key, each.feedback_key) for each in others[:3])
    return Pairing(best.impression_key, best.feedback_key, best.delays_ms, best.feedback, best.impressions, names)


def _pairs(shown: Table, shown_time: TimeColumn, feedback: Table, feedback_time: TimeColumn) -> Iterator[Pairing]:
    """Every pair of columns that may be the key."""
    theirs = [(column, first_moments(column, feedback_time)) for column in _candidates(feedback)]
    for ours in _candidates(shown):
        first = first_moments(ours, shown_time)
        if len(first) < UNIQUE * len(ours.values):
            continue
        for column, moments in theirs:
            each = paired(ours.path, first, column.path, moments)
            if each.matched >= min(ENOUGH, len(moments)):
                yield each


def paired(ours: str, first: dict[str, float], theirs: str, moments: dict[str, float]) -> Pairing:
    """What two columns bring together, by the moments of their keys."""
    delays = sorted(moment - first[key] for key, moment in moments.items() if key in first)
    return Pairing(ours, theirs, delays, len(moments), len(first))


def _candidates(table: Table) -> list[Column]:
    """Columns that may be a key: text or whole numbers at the top of a message, and no times."""
    return [
        column
        for column in table.columns.values()
        if column.nameable and column.type in {"string", "integer"} and not looks_like_time(column)
    ]


def first_moments(column: Column, time: TimeColumn) -> dict[str, float]:
    """Key -> when it first stood, ms since 1970."""
    found: dict[str, float] = {}
    for number, value in column.values:
        key, moment = text(value), time.moments.get(number)
        if key and moment is not None:
            found[key] = min(moment, found.get(key, math.inf))
    return found


def _rank(each: Pairing) -> tuple[float, ...]:
    """Least is best: order in time that fits, a name of keys, one name on both sides, many pairs, short delays.

    Counters pair as well as keys do, but their delays drift apart.
    """
    fitting = sum(delay >= -CLOCKS_MS for delay in each.delays_ms) / each.matched
    named = bool(_KEY_NAME.search(each.impression_key)) + bool(_KEY_NAME.search(each.feedback_key))
    same = each.impression_key == each.feedback_key
    return (-round(fitting, 1), -named, -same, -each.matched, statistics.median(map(abs, each.delays_ms)))


def _swapped(shown: Table, feedback: Table, why: str) -> Invalid:
    return Invalid(
        f"the topics seem exchanged: `{shown.topic}` as impressions, `{feedback.topic}` as feedback, and {why}",
        cure=f"call `init` with --impressions {feedback.topic} --feedback {shown.topic}",
    )


def _no_key(shown: Table, feedback: Table) -> Invalid:
    ours = {column.path: set(column.counts()) for column in _candidates(shown)}
    theirs = {column.path: set(column.counts()) for column in _candidates(feedback)}
    shared = [
        (len(ours[mine] & theirs[other]), mine) for mine in ours for other in theirs if ours[mine] & theirs[other]
    ]
    wanted = "a column whose value names one impression, sent again with its feedback"
    if shared:
        mine = max(shared)[1]
        repeated = len(shown) - shown.columns[mine].distinct
        return Invalid(
            f"no common key: `{mine}` is in both topics, but {repeated:,} of {len(shown):,} impressions repeat it",
            wanted=wanted,
            cure="give each impression an id of its own, or raise --messages where few of them are clicked",
        )
    return Invalid(
        f"no common key: no value of `{shown.topic}` ({_names(ours)}) stands in `{feedback.topic}` ({_names(theirs)})",
        wanted=wanted,
        cure="name two topics that belong together, or raise --messages where few impressions are clicked",
    )


def _names(columns: dict[str, set[str]]) -> str:
    return ", ".join(f"`{name}`" for name in list(columns)[:8]) or "no text and no whole numbers"
