"""Flink's own plan for the generated SQL: a change to it cannot make the join slower or unbounded unseen."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from typing import Any

import pytest

from streaming import sql
from streaming.planner import Planner
from tests.streaming.pipelines import pipeline

NASTY: dict[str, Any] = {
    "impressions": {
        "topic": "order.by-Select_1",
        "key": "select",
        "time": "timestamp",
        "time_unit": "ms",
        "weight": "value",
        "fields": [
            {"name": "select"},
            {"name": "value", "type": "integer"},
            {"name": "second"},
            {"name": "key"},
            {"name": "topic", "type": "list[string]"},
            {"name": "reason", "type": "boolean"},
            {"name": "window", "type": "list[integer]"},
        ],
    },
    "features": [
        {"name": "a", "source": "select", "table": "items"},
        {"name": "b", "kind": "number", "source": "value"},
    ],
    "feedback": {"name": "order", "topic": "group", "key": "where", "time": "date", "time_unit": "us"},
}

INDENT = 3  # columns per level of Flink's plans


def optimised(planner: Planner, **parts: Any) -> str:
    text = planner.explain(sql.plan(pipeline(**parts)))
    return text[text.index("== Optimized Execution Plan ==") :]


@pytest.fixture(scope="module")
def plan(planner: Planner) -> str:
    """The plan of a pipeline whose every name is a word of SQL."""
    return optimised(planner, **NASTY)


def count(pattern: str, plan: str) -> int:
    return len(re.findall(pattern, plan))


def test_two_interval_joins_over_inputs_that_are_read_and_numbered_once(plan: str) -> None:
    assert count(r"IntervalJoin\(", plan) == 2
    assert count(r"OverAggregate\(", plan) == 3  # impressions, feedback, and the verdicts of each key
    assert count(r"Deduplicate\(", plan) == 0
    assert count(r"TableSourceScan\(", plan) == 4  # each topic once, and two heartbeat topics
    assert count(r"Sink\(", plan) == 1


def test_nothing_is_kept_for_ever(plan: str) -> None:
    assert count(r"(?<!Interval)Join\(", plan) == 0
    assert count(r"GroupAggregate\(|Rank\(|ChangelogNormalize\(|SinkMaterializer\(", plan) == 0
    assert count(r"isRowTime=true", plan) == 2


def test_feedback_waits_until_every_impression_that_it_fits_would_be_late(plan: str) -> None:
    """The windows of ten minutes and an hour, a second of skew; the second join holds it a millisecond longer."""
    bounds = re.findall(r"leftLowerBound=(-?\d+), leftUpperBound=(-?\d+)", plan)
    assert bounds == [("-600000", "601000"), ("-601001", "3600000")]


@pytest.mark.parametrize(("labels", "joins", "numberings", "waiting"), [("aligned", 2, 3, 1), ("immediate", 1, 2, 0)])
def test_the_other_label_modes_join_no_more_often(
    planner: Planner, labels: str, joins: int, numberings: int, waiting: int
) -> None:
    plan = optimised(planner, join={"labels": labels})
    assert count(r"IntervalJoin\(", plan) == joins
    assert count(r"OverAggregate\(", plan) == numberings
    assert count(r"TableSourceScan\(", plan) == 4
    # Labels that wait for their window's end only ever go in.
    assert count(r"Deduplicate\(", plan) == waiting
    assert count(r"Deduplicate\(keep=\[FirstRow\].*order=\[ROWTIME\], outputInsertOnly=\[true\]", plan) == waiting


def test_watermarks_stand_in_the_sources(plan: str) -> None:
    assert count(r"watermark=\[CASE", plan) == 4
    assert count(r"watermarkEmitStrategy=\[on-event\]", plan) == 4
    assert count(r"idletimeout=\[30000\]", plan) == 2  # the user's topics only
    assert "WatermarkAssigner" not in plan


def test_every_row_that_enters_an_interval_join_crosses_a_hash_exchange(plan: str) -> None:
    """Rows are reused between chained operators: a join must not keep one that its neighbour goes on to change."""
    lines = plan.splitlines()
    joins = [number for number, line in enumerate(lines) if "IntervalJoin(" in line]
    inputs = [child for number in joins for child in children(lines, number)]
    assert len(inputs) == 2 * len(joins) == 4
    for text in inputs:
        assert text.startswith("Exchange(distribution=[hash["), text


def test_event_time_is_asked_for_behind_the_numbering(plan: str) -> None:
    """In front of it each topic would be asked alone, without its heartbeats."""
    lines = plan.splitlines()
    asked = [number for number, line in enumerate(lines) if "CURRENT_WATERMARK" in line]
    assert asked
    for number in asked:
        (behind,) = children(lines, number)
        assert behind.startswith("OverAggregate("), behind


def children(lines: list[str], number: int) -> list[str]:
    """What feeds the operator in line ``number`` of a plan, shared parts where they are written out."""
    found = []
    for line in lines[number + 1 :]:
        below = depth(line) - depth(lines[number])
        if below <= 0:
            break
        if below == INDENT:
            found.append(line[depth(line) :])
    return [shared(lines, text) for text in found]


def shared(lines: list[str], text: str) -> str:
    reference = re.match(r"Reused\(reference_id=\[(\d+)\]\)", text)
    if reference is None:
        return text
    (line,) = (line for line in lines if f"(reuse_id=[{reference[1]}])" in line)
    return line[depth(line) :]


def depth(line: str) -> int:
    return len(line) - len(line.lstrip(" :+-|"))
