"""What kinds of feedback, conditions and windows may be, and how a wrong one is told."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from infra.spec import Pipeline
from infra.spec_wording import wordings
from infra.units import Duration

TOPIC = {"key": "id", "time": "ts"}
CLICK = {**TOPIC, "name": "click", "topic": "acts", "when": {"field": "type", "equals": "click"}}


def document(*feedback: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {
        "name": "m",
        "kafka": {"bootstrap": "b:1"},
        "events": {
            "impressions": {**TOPIC, "topic": "shown", "fields": [{"name": "item", "path": "body.item"}]},
            "feedback": list(feedback),
        },
        "features": [{"name": "item", "source": "item", "table": "items"}],
        "tables": [{"name": "items", "dim": 4}],
        "store": {"url": "memory://m"},
        **parts,
    }


def wrong(*feedback: dict[str, Any], **parts: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Pipeline.model_validate(document(*feedback, **parts))
    return [".".join(map(str, each.place)) + ": " + each.text for each in wordings(caught.value)]


def test_kinds_may_share_a_topic_and_have_windows_of_their_own() -> None:
    order = {**CLICK, "name": "order", "when": {"field": "type", "equals": "order"}, "window": "30m"}
    found = Pipeline.model_validate(document(CLICK, order))
    windows = [found.join.windows(kind) for kind in found.events.feedback]
    assert windows == [(Duration("10m"), Duration("1h")), (Duration("30m"), Duration("1h"))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "click", "topic": "other"}, "events.feedback.1.name: `click` is there already"),
        ({}, "events.feedback.1: `click` reads the same topic; wanted a `when` that tells the two apart"),
        ({"key": "other"}, "events.feedback.1.key: `click` reads the same topic with `id`"),
        ({"topic": "o", "window": "2h"}, "events.feedback.1.window: the correction window is 1h; wanted at least"),
        (
            {"topic": "o", "correction_window": "1m"},
            "events.feedback.1.correction_window: the correction window is 1m; wanted at least",
        ),
        ({"topic": "o", "when": {"field": "type"}}, "events.feedback.1.when: wanted exactly one of `at_least`"),
        ({"topic": "o", "when": {"field": "a..b", "equals": "x"}}, "wanted names with dots"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(change: dict[str, Any], message: str) -> None:
    found = wrong(CLICK, {**CLICK, "name": "order", **change})
    assert any(message in each for each in found), found


def test_labels_at_once_leave_no_negative_out() -> None:
    found = wrong(CLICK, join={"labels": "immediate", "keep_negatives": 0.5})
    assert any("join.keep_negatives: wanted 1 with `labels: immediate`" in each for each in found), found
