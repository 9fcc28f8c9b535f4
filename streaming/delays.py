"""How long after its impression feedback comes, and which window would see how much of it; reads no topic."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from infra import spec
from infra.errors import Invalid
from streaming import sample, topics

ORPHAN: Final = topics.LATE_REASONS[0]
# Fewer say nothing on the tail.
ENOUGH: Final = 100
QUANTILES: Final = (0.5, 0.9, 0.95, 0.99, 1.0)
# Windows that a person would write, in seconds.
_ROUND_S: Final = (
    *(0.1, 0.2, 0.3, 0.5),
    *(1, 2, 3, 5, 10, 15, 20, 30, 45),
    *(60 * minutes for minutes in (1, 2, 3, 5, 10, 15, 20, 30, 45)),
    *(3600 * hours for hours in (1, 2, 3, 6, 12)),
    *(86_400 * days for days in (1, 2, 3, 5, 7, 14, 30, 60, 90)),
)


@dataclass(frozen=True)
class Suggestion:
    """What the delays of one kind of feedback say of its window.

    Attributes:
        feedback: The kind.
        answered: Impressions with feedback whose whole correction window has passed.
        impressions: All impressions of that age.
        quantiles_s: Share -> delay in seconds that so many do not exceed.
        window_s: The window now.
        coverage: Share of the feedback seen that comes inside it.
        wanted: The share asked for.
        suggested_s: The smallest round window that covers it.
        orphaned: Share of all feedback that found no impression; delays beyond the correction window are among it.
    """

    feedback: str
    answered: int
    impressions: int
    quantiles_s: Mapping[float, float]
    window_s: float
    coverage: float
    wanted: float
    suggested_s: float
    orphaned: float

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "quantiles_s": {f"{100 * key:g}": value for key, value in self.quantiles_s.items()}}


@dataclass
class Delays:
    """Collects the records of the topics `samples` and `late`, for one kind of feedback.

    Only impressions count whose correction window has passed: of younger ones the late feedback is still to come, and
    they would make delays look short.

    Args:
        pipeline: Windows and label mode.
        feedback: The kind.
    """

    pipeline: spec.Pipeline
    feedback: spec.Feedback
    _shown: dict[str, int] = field(default_factory=dict)
    _answered: dict[str, int] = field(default_factory=dict)
    _orphans: set[tuple[str, str]] = field(default_factory=set)
    _newest_ms: int = 0

    def add_sample(self, row: Mapping[str, Any]) -> None:
        """Takes a sample."""
        name = str(row["sample_id"])
        key, _, end = name.rpartition("#")
        if topics.is_probe(key) or end.rpartition(".")[0] != self.feedback.name:
            return
        shown, known = _ms(row["impression_ts"]), _ms(row["known_ts"])
        self._newest_ms = max(self._newest_ms, known)
        self._shown[key] = shown
        if row["kind"] in {sample.CLICK, sample.CORRECTED}:
            self._answered[key] = delay_ms(row)

    def add_late(self, row: Mapping[str, Any]) -> None:
        """Takes a late row."""
        if row["reason"] == ORPHAN and row["feedback"] == self.feedback.name:
            self._orphans.add((str(row["key"]), str(row["feedback_ts"])))

    def suggest(self, wanted: float) -> Suggestion:
        """The window that covers the share ``wanted`` of the feedback.

        Raises:
            Invalid: The samples do not say when feedback came, or too few are old enough.
        """
        join = self.pipeline.join
        window, correction = join.windows(self.feedback)
        if join.labels == "aligned":
            raise Invalid(
                "with `join.labels: aligned` a sample says when its window closed, not when its feedback came",
                cure="ask a pipeline of the same topics with `after_window`",
            )
        old_enough = {key for key, shown in self._shown.items() if shown + correction.ms <= self._newest_ms}
        delays = sorted(delay for key, delay in self._answered.items() if key in old_enough)
        if len(delays) < ENOUGH:
            raise Invalid(
                f"`{self.feedback.name}`: {len(delays)} impressions with feedback are older than the correction window",
                wanted=f"at least {ENOUGH}, with {correction} passed since",
                cure="wait, or look further back with --since",
            )
        bound = _at(delays, wanted)
        return Suggestion(
            feedback=self.feedback.name,
            answered=len(delays),
            impressions=len(old_enough),
            quantiles_s={share: _at(delays, share) / 1000 for share in QUANTILES},
            window_s=window.seconds,
            coverage=sum(delay <= window.ms for delay in delays) / len(delays),
            wanted=wanted,
            suggested_s=round_window_s(bound),
            orphaned=len(self._orphans) / (len(self._orphans) + len(self._answered)),
        )


def collect(
    pipeline: spec.Pipeline, samples: Iterable[Mapping[str, Any]], late: Iterable[Mapping[str, Any]]
) -> list[Delays]:
    """What the rows say of each kind of feedback."""
    found = [Delays(pipeline, kind) for kind in pipeline.events.feedback]
    for row in samples:
        for each in found:
            each.add_sample(row)
    for row in late:
        for each in found:
            each.add_late(row)
    return found


def delay_ms(row: Mapping[str, Any]) -> int:
    """How long after its impression the feedback of a positive sample came; feedback from before it came at once."""
    return max(0, _ms(row["known_ts"]) - _ms(row["impression_ts"]))


def round_window_s(bound_ms: float) -> float:
    """The smallest window that a person would write, in seconds, which is no shorter than ``bound_ms``."""
    return next((each for each in _ROUND_S if each * 1000 >= bound_ms), bound_ms / 1000)


def span(seconds: float) -> str:
    """A span as a pipeline.yaml has it, in the largest unit that makes it a whole number, or in seconds."""
    if 0 < seconds < 1 and math.isclose(seconds * 1000, round(seconds * 1000)):
        return f"{seconds * 1000:g}ms"
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _at(ordered: list[int], share: float) -> int:
    """The smallest value that ``share`` of all do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
