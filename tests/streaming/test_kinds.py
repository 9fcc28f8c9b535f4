"""Several kinds of feedback, fields inside others, a share of the negatives and whole transactions, in one job."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from infra.clock import new_uuid
from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming.planner import Planner
from tests.streaming.events import Stream
from tests.streaming.running import running_join
from tests.streaming.truth import JOIN, WINDOW

pytestmark = pytest.mark.long

LONG = 10  # the window of the kinds that take longer, in seconds
KEEP = 0.25
IMPRESSIONS = 400
FIELDS = [
    {"name": "item"},
    {"name": "city", "path": "user.address.city"},
    {"name": "age", "type": "integer", "path": "user.age"},
    {"name": "history", "type": "list[integer]", "path": "user.history"},
]
MARKS: dict[str, dict[str, Any]] = {"click": {"type": "click"}, "order": {"type": "order"}, "dwell": {"dwell_s": 30.0}}


@pytest.fixture(scope="module")
def outcomes(local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner) -> Iterator[Stream]:
    """A join of three kinds over two topics, and everything that came of its events."""
    topic = f"kinds-{new_uuid()[:8]}"
    own = {"window": f"{LONG}s", "correction_window": f"{LONG + 10}s"}
    acts = {"topic": f"{topic}.acts", "key": "id", "time": "ts"}
    with running_join(
        local_kafka,
        local_flink,
        planner,
        "kinds",
        marks=MARKS,
        join={**JOIN, "keep_negatives": KEEP},
        flink={"checkpoint_interval": "1s"},
        samples={"delivery": "exactly_once"},
        impressions={"fields": FIELDS, "weight": None},
        feedback={**acts, "when": {"field": "type", "equals": "click"}},
        more_feedback=[
            {**acts, "name": "order", "when": {"field": "type", "equals": "order"}, **own},
            {**acts, "topic": f"{topic}.views", "name": "dwell", "when": {"field": "dwell_s", "at_least": 30}, **own},
        ],
    ) as stream:
        user = {"address": {"city": "Ulm"}, "age": 41, "history": [1, 2**60]}
        stream.impression("all", 0.0, item="i", user=user)
        stream.click("all", 1.0)
        stream.click("all", 2.0, "order")
        stream.click("all", 3.0, "dwell")
        stream.impression("one", 0.0, user={"address": None, "age": "old", "history": "x"})
        stream.click("one", WINDOW + 1.0, "order")
        stream.click("one", 4.0, "dwell", dwell_s=29.9)
        stream.click("one", 4.0, "click", type="unknown")
        stream.impression("bare", 0.0, user="nobody")
        stream.impression("__probe-1", 0.0)
        for number in range(IMPRESSIONS):
            stream.impression(f"n{number}", 0.0)
        stream.click("unmeasured", 1.0, "dwell", dwell_s="long")
        stream.producer.flush()
        stream.advance(7.0)
        stream.impression("late", 0.0)
        stream.producer.flush()
        stream.advance(40.0)
        stream.advance(41.0)
        yield stream


def of(stream: Stream, key: str) -> dict[str, dict[str, Any]]:
    """Every sample of a key, by the rest of its id."""
    rows = {row["sample_id"]: row for row in stream.samples if row["sample_id"].rpartition("#")[0] == key}
    return {sample_id.rpartition("#")[2]: row for sample_id, row in rows.items()}


def labels(row: dict[str, Any]) -> list[int | None]:
    return [row[f"label_{kind}"] for kind in MARKS]


def test_each_kind_has_its_own_label_and_emission(outcomes: Stream) -> None:
    found = of(outcomes, "all")
    assert {name: labels(row) for name, row in found.items()} == {
        "click.0": [1, None, None],
        "order.0": [None, 1, None],
        "dwell.0": [None, None, 1],
    }


def test_each_kind_has_its_own_window(outcomes: Stream) -> None:
    found = of(outcomes, "one")
    assert labels(found["order.0"]) == [None, 1, None]
    assert outcomes.seconds(found["order.0"]["known_ts"]) == WINDOW + 1.0
    late = [(row["reason"], row["feedback"]) for row in outcomes.late if row["key"] == "late"]
    assert late == [("late_impression", "click")]
    for kind in ("order", "dwell"):
        verdicts = [row for row in of(outcomes, "late").values() if row[f"label_{kind}"] is not None]
        assert all(outcomes.seconds(row["known_ts"]) == LONG for row in verdicts)


def test_what_a_condition_does_not_mean_is_no_feedback_and_what_it_cannot_judge_a_dead_letter(outcomes: Stream) -> None:
    assert "click.1" not in of(outcomes, "one") and "dwell.1" not in of(outcomes, "one")
    dead = [(row["reason"], orjson.loads(base64.b64decode(row["body"]))["id"]) for row in outcomes.dead]
    assert dead == [("no_value", "unmeasured")]


def test_fields_inside_others_lists_and_nulls_arrive_as_typed_features(outcomes: Stream) -> None:
    row = of(outcomes, "all")["click.0"]
    assert (row["item"], row["city"], row["age"], row["history"]) == ("i", "Ulm", 41, [1, 2**60])
    row = of(outcomes, "one")["order.0"]
    assert (row["item"], row["city"], row["age"], row["history"]) == (None, None, None, None)


def test_a_share_of_the_negatives_is_kept_and_says_its_rate(outcomes: Stream) -> None:
    kept = {
        row["sample_id"] for row in outcomes.samples if row["sample_id"].startswith("n") and row["label_click"] == 0
    }
    # Six standard deviations around the share.
    assert abs(len(kept) - KEEP * IMPRESSIONS) < 6 * (KEEP * (1 - KEEP) * IMPRESSIONS) ** 0.5
    rates = {(row["kind"], row["down_sampling_rate"]) for row in outcomes.samples if "probe" not in row["sample_id"]}
    assert rates == {("timeout", KEEP), ("click", 1.0)}
    assert set(of(outcomes, "__probe-1")) == {"click.0", "order.0", "dwell.0"}
    assert of(outcomes, "__probe-1")["click.0"]["down_sampling_rate"] == 1.0
    # The same impressions lack every label.
    for kind in ("order", "dwell"):
        other = {f"n{number}" for number in range(IMPRESSIONS) if f"{kind}.0" in of(outcomes, f"n{number}")}
        assert {f"{key}#click.0" for key in other} == kept
