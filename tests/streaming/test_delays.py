"""Delays of feedback and the window that they suggest, from samples as the join writes them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from infra.clock import iso
from infra.errors import Invalid
from streaming.delays import Delays, Suggestion, collect
from tests.streaming.pipelines import pipeline

WINDOW_MS, CORRECTION_MS = 10_000, 60_000
SPEC = pipeline(join={"window": "10s", "correction_window": "1m"})
BEGIN_MS = 1_700_000_000_000


def sample(number: int, delay_ms: int | None, kind: str = "click", begin_ms: int = BEGIN_MS) -> dict[str, Any]:
    known = begin_ms + (WINDOW_MS if delay_ms is None else delay_ms)
    emission = 1 if kind == "correction" else 0
    return {
        "sample_id": f"k{number}#click.{emission}",
        "kind": "timeout" if delay_ms is None else kind,
        "impression_ts": iso(begin_ms),
        "known_ts": iso(known),
    }


def orphan(number: int) -> dict[str, Any]:
    return {"reason": "orphan", "feedback": "click", "key": f"o{number}", "feedback_ts": iso(BEGIN_MS)}


def suggestion(rows: list[dict[str, Any]], late: list[dict[str, Any]], wanted: float = 0.95) -> Suggestion:
    # The clock of the data: an impression whose correction window has passed since all others.
    rows = [*rows, sample(10**6, None, begin_ms=BEGIN_MS + CORRECTION_MS)]
    (found,) = collect(SPEC, rows, late)
    return found.suggest(wanted)


def test_delays_and_coverage_are_those_of_the_feedback_seen() -> None:
    """200 delays of 100 ms to 20 s, the later half as corrections of timeouts, and 100 impressions without."""
    rows: list[dict[str, Any]] = [sample(1000 + number, None) for number in range(100)]
    for number in range(1, 201):
        delay = 100 * number
        if delay > WINDOW_MS:
            rows += [sample(number, None), sample(number, delay, "correction")]
        else:
            rows.append(sample(number, delay))
    found = suggestion(rows, [orphan(number) for number in range(50)])
    assert (found.feedback, found.answered, found.impressions) == ("click", 200, 300)
    assert found.quantiles_s == {0.5: 10.0, 0.9: 18.0, 0.95: 19.0, 0.99: 19.8, 1.0: 20.0}
    assert found.coverage == 0.5
    assert (found.suggested_s, found.wanted) == (20, 0.95)
    assert found.orphaned == 0.2


def test_young_impressions_whose_late_feedback_is_still_to_come_do_not_count() -> None:
    old = [sample(number, 15_000, "correction") for number in range(150)]
    young = [sample(1000 + number, 1, begin_ms=BEGIN_MS + CORRECTION_MS) for number in range(1000)]
    found = suggestion([*old, *young], [])
    assert (found.answered, found.coverage, found.suggested_s) == (150, 0.0, 15)


def test_repeats_and_probes_count_once_and_never() -> None:
    rows = [sample(number, 1000) for number in range(120)] * 2
    rows += [{**sample(number, 5000), "sample_id": f"__probe-{number}#click.0"} for number in range(500)]
    assert suggestion(rows, [orphan(1), orphan(1)]).answered == 120


def test_what_says_nothing_is_refused() -> None:
    with pytest.raises(Invalid, match="0 impressions with feedback are older than the correction window"):
        suggestion([], [])
    aligned = pipeline(join={"labels": "aligned"})
    with pytest.raises(Invalid, match="aligned"):
        Delays(aligned, aligned.events.feedback[0]).suggest(0.9)
