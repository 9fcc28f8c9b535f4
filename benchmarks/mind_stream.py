"""MIND as pages shown and labels that arrive later, and a counting model on it; knows no trainer and no loop."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from infra.clock import iso
from springtide.datasets.event import Event
from springtide.datasets.mind import Mind
from streaming import sample

# What a label waits for where nothing is late: clicks have a mean of 2 s and are known with the verdicts (`aligned`).
WINDOW_MS = 10_000
SCORED_SHARE = 0.2
# The counting model's prior, as the data's notes have it.
PRIOR_CLICKS, PRIOR_SHOWN = 1, 25


@dataclass(frozen=True)
class Page:
    """What one reader was shown at once: rows ``begin`` to ``end``."""

    shown_ms: int
    begin: int
    end: int


@dataclass(frozen=True)
class Arrival:
    """One emission of the join, for the row at ``row``."""

    known_ms: int
    row: int
    kind: str

    @property
    def clicked(self) -> bool:
        """Whether it says that the row was clicked."""
        return self.kind != sample.TIMEOUT


class MindStream:
    """The log in time order.

    Args:
        dataset: The log.
    """

    def __init__(self, dataset: Mind) -> None:
        self.rows: Sequence[Event] = list(dataset.events())
        self.pages = list(_pages(self.rows))
        self.arrivals = sorted(_arrivals(self.rows), key=lambda arrival: (arrival.known_ms, arrival.row))
        cut = len(self.rows) * (1 - SCORED_SHARE)
        self.scored = next(place for place, page in enumerate(self.pages) if page.begin >= cut)

    @property
    def cut_ms(self) -> int:
        """When the scored part begins."""
        return self.pages[self.scored].shown_ms

    def message(self, arrival: Arrival) -> dict[str, Any]:
        """The sample as the join writes it."""
        event = self.rows[arrival.row]
        emission = sample.CORRECTION if arrival.kind == sample.CORRECTED else sample.VERDICT
        return {
            "sample_id": sample.sample_id(event.key, "click", emission),
            "kind": arrival.kind,
            sample.label("click"): int(arrival.clicked),
            "impression_ts": iso(event.time_ms),
            "received_ts": iso(arrival.known_ms),
            "known_ts": iso(arrival.known_ms),
            "weight": 1,
            "down_sampling_rate": 1,
            **event.fields,
        }

    def counted(self, delay_ms: int, until_ms: int | None = None) -> list[float]:
        """Scores of the scored rows by a smoothed click rate per news, from the same arrivals."""
        clicks: Counter[object] = Counter()
        shown: Counter[object] = Counter()
        waiting = iter(self.arrivals)
        arrival = next(waiting, None)
        scores = []
        for page in self.pages[self.scored :]:
            while arrival is not None and arrival.known_ms + delay_ms <= min(page.shown_ms, until_ms or page.shown_ms):
                news = self.rows[arrival.row].fields["news_id"]
                clicks[news] += arrival.clicked
                shown[news] += arrival.kind != sample.CORRECTED
                arrival = next(waiting, None)
            for row in self.rows[page.begin : page.end]:
                news = row.fields["news_id"]
                scores.append((clicks[news] + PRIOR_CLICKS) / (shown[news] + PRIOR_SHOWN))
        return scores


def _pages(rows: Sequence[Event]) -> Iterator[Page]:
    begin = 0
    for _, group in itertools.groupby(rows, key=lambda event: event.key.rsplit("-", 1)[0]):
        count = len(list(group))
        yield Page(rows[begin].time_ms, begin, begin + count)
        begin += count


def _arrivals(rows: Sequence[Event]) -> Iterator[Arrival]:
    """With aligned labels: a verdict when the window ends, and a correction for a click that came later."""
    for row, event in enumerate(rows):
        inside = event.click_after is not None and event.click_after <= 1
        yield Arrival(event.time_ms + WINDOW_MS, row, sample.CLICK if inside else sample.TIMEOUT)
        if event.click_after is not None and not inside:
            yield Arrival(event.time_ms + round(event.click_after * WINDOW_MS), row, sample.CORRECTED)
