"""Everything that a look at impressions and their feedback tells; knows messages, not how a pipeline is written."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from infra.errors import Invalid
from springtide.survey.columns import Table, read_table
from springtide.survey.encoding import Known
from springtide.survey.features import LeftOut, Proposal, propose
from springtide.survey.pairing import Pairing, pair
from springtide.survey.times import TimeColumn, event_time
from streaming.delays import round_window_s
from streaming.topic_sample import Message

# The defaults' own: late clicks are waited for six windows.
CORRECTION_WINDOWS: Final = 6
# Servers are in step to a second or so, and what is waited for beyond costs freshness. Half a window is enough where
# windows are shorter than that: such a stream is a replay, or of one machine.
LEAST_S: Final = 1.0


@dataclass(frozen=True)
class FeedbackFindings:
    """What was seen of one kind of feedback."""

    table: Table
    time: TimeColumn
    pairing: Pairing

    @property
    def p50_ms(self) -> float:
        """The delay that half of the clicks do not exceed; one from before its impression has none."""
        return max(0.0, self.pairing.quantile_ms(0.5))

    @property
    def p99_ms(self) -> float:
        """The delay that 99 % of the clicks do not exceed."""
        return max(0.0, self.pairing.quantile_ms(0.99))

    @property
    def window_s(self) -> float:
        """The window that they suggest."""
        return round_window_s(self.p99_ms)

    @property
    def correction_s(self) -> float:
        """How long to wait for clicks beyond the window."""
        return round_window_s(max(CORRECTION_WINDOWS * self.window_s * 1000, self.pairing.delays_ms[-1]))


@dataclass(frozen=True)
class Findings:
    """What was seen of all topics.

    Attributes:
        shown: The impressions.
        time: When they were shown.
        key: Their key.
        feedback: Every kind of feedback.
        proposals: Fields and features.
        left_out: Columns that make none.
    """

    shown: Table
    time: TimeColumn
    key: str
    feedback: list[FeedbackFindings]
    proposals: list[Proposal]
    left_out: list[LeftOut]

    @property
    def _least_ms(self) -> float:
        """What is allowed for where nothing was seen."""
        return min(LEAST_S, min(each.window_s for each in self.feedback) / 2) * 1000

    @property
    def disorder_s(self) -> float:
        """How far events may be out of order: twice what was seen in any partition."""
        times = [(self.shown, self.time), *((each.table, each.time) for each in self.feedback)]
        worst = max(_disorder_ms(table, time) for table, time in times)
        return round_window_s(max(self._least_ms, 2 * worst))

    @property
    def skew_s(self) -> float:
        """How far feedback may seem to come before its impression."""
        earliest = min(each.pairing.delays_ms[0] for each in self.feedback)
        return round_window_s(max(self._least_ms, -earliest))


def survey(
    topic: str, shown: Sequence[Message], feedback: Mapping[str, Sequence[Message]], known: Known | None = None
) -> Findings:
    """Looks at the messages of the topic of impressions and of each topic of feedback.

    Args:
        topic: That of the impressions.
        shown: Its messages.
        feedback: Topic -> its messages.
        known: What was said of their encodings; None: they are JSON.

    Raises:
        Invalid: What a pipeline wants is not there (events, a time, a common key, a feature), or topics are exchanged.
        Unavailable: A schema registry does not answer.
    """
    known = known or Known()
    impressions = read_table(topic, shown, known.encoding(topic, shown))
    time = event_time(impressions)
    kinds = []
    for name, messages in feedback.items():
        table = read_table(name, messages, known.encoding(name, messages))
        when = event_time(table)
        kinds.append(FeedbackFindings(table, when, pair(impressions, time, table, when)))
    keys = {each.pairing.impression_key for each in kinds}
    if len(keys) > 1:
        told = ", ".join(f"`{each.table.topic}` by `{each.pairing.impression_key}`" for each in kinds)
        raise Invalid(
            f"the kinds of feedback find their impressions by different columns: {told}", wanted="one key for all"
        )
    key = keys.pop()
    proposals, left = propose(impressions, taken=[key, time.path])
    if not proposals:
        raise Invalid(
            f"topic `{topic}`: no column makes a feature", wanted="what was shown, and to whom", cure="send it along"
        )
    return Findings(impressions, time, key, kinds, proposals, left)


def _disorder_ms(table: Table, time: TimeColumn) -> float:
    """How far an event's time lies before that of an earlier one of its partition."""
    worst = 0.0
    rows = sorted((table.messages[n].partition, table.messages[n].offset, moment) for n, moment in time.moments.items())
    for partition in {row[0] for row in rows}:
        moments = [moment for each, _, moment in rows if each == partition]
        worst = max(worst, max(map(lambda most, now: most - now, accumulate(moments, max), moments), default=-math.inf))
    return worst
