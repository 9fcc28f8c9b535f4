"""What a look at two topics tells: keys, times and their units, kinds of fields, delays; and what is refused."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from infra.clock import iso
from infra.errors import Invalid
from infra.pipeline_file import parse_pipeline
from infra.spec import Kafka, NumberFeature
from springtide.check import check_file
from springtide.survey.columns import read_table
from springtide.survey.draft import draft, feedback_name, model_name
from springtide.survey.findings import Findings, survey
from springtide.survey.times import event_time
from streaming.topic_sample import Message

BEGIN_MS = 1_764_000_000_000
COUNT, EVERY, STEP_MS = 300, 3, 20
WRITTEN: dict[str, Callable[[int], Any]] = {
    "iso8601": iso,
    "s": lambda ms: ms // 1000,
    "ms": lambda ms: ms,
    "us": lambda ms: ms * 1000,
}
Row = dict[str, Any]


def messages(rows: list[Row], received: list[int] | None = None) -> list[Message]:
    times = received or [BEGIN_MS + STEP_MS * number for number in range(len(rows))]
    return [Message(0, n, at, orjson.dumps(row)) for n, (row, at) in enumerate(zip(rows, times, strict=True))]


def delay_ms(number: int) -> int:
    return 1000 + 50 * (number % 40)


def shown(unit: str = "ms") -> list[Row]:
    return [
        {
            "view": f"v{number * 7919 % 10007:05d}",
            "at": WRITTEN[unit](BEGIN_MS + STEP_MS * number),
            "user_id": f"u{number % 40}",
            "item": {"id": number % 25, "price": 3.5 + number % 9, "tags": [f"t{number % 5}", f"t{number % 3}"]},
            "mobile": number % 2 == 0,
            "trace": f"{number:032x}",
            "page": "front",
            "kind": "ab"[number % 2],
        }
        for number in range(COUNT)
    ]


def clicked(unit: str = "ms") -> list[Row]:
    return [
        {"of": row["view"], "t": WRITTEN[unit](BEGIN_MS + STEP_MS * number + delay_ms(number)), "kind": "click"}
        for number, row in enumerate(shown())
        if number % EVERY == 0
    ]


def findings(ours: list[Row], theirs: list[Row]) -> Findings:
    return survey("views", messages(ours), {"clicks": messages(theirs)})


@pytest.mark.parametrize("unit", WRITTEN)
def test_the_key_the_unit_the_match_rate_and_the_delays_are_those_of_the_events(unit: str) -> None:
    found = findings(shown(unit), clicked(unit))
    (kind,) = found.feedback
    assert (found.key, kind.pairing.feedback_key) == ("view", "of")
    assert (found.time.path, found.time.unit, kind.time.path, kind.time.unit) == ("at", unit, "t", unit)
    assert (kind.pairing.matched, kind.pairing.feedback, kind.pairing.impressions) == (COUNT // EVERY, 100, COUNT)
    if unit != "s":
        plain = sorted(delay_ms(number) for number in range(0, COUNT, EVERY))
        assert (kind.p50_ms, kind.p99_ms) == (plain[49], plain[98])
    assert kind.window_s == 3 and kind.correction_s == 20


def test_fields_have_the_types_of_their_values_and_features_of_a_fitting_kind() -> None:
    found = findings(shown(), clicked())
    fields = {each.name: (each.path, each.type, each.kind) for each in found.proposals}
    assert fields == {
        "user_id": ("user_id", "string", "id"),
        "item_id": ("item.id", "integer", "id"),
        "item_price": ("item.price", "number", "number"),
        "item_tags": ("item.tags", "list[string]", "id"),
        "mobile": ("mobile", "boolean", "number"),
        "shown_kind": ("kind", "string", "id"),  # `kind` is a column of every sample
    }
    assert {each.path for each in found.left_out} == {"trace", "page"}


def test_the_draft_is_a_pipeline_with_what_was_found(tmp_path: Any) -> None:
    kafka = Kafka(bootstrap="127.0.0.1:9092")
    text = draft(findings(shown("us"), clicked("us")), name="views", kafka=kafka, store="s3://b/v", endpoint=None)
    pipeline = parse_pipeline(text)
    assert pipeline.events.impressions.time_unit == "us" and pipeline.events.impressions.key == "view"
    assert str(pipeline.join.window) == "3s"
    assert {table.name for table in pipeline.tables} == {"user_id", "item_id", "item_tags", "shown_kind"}
    assert [each.name for each in pipeline.features if isinstance(each, NumberFeature)] == ["item_price", "mobile"]
    assert "# 100 of 100 (100 %) found their impression; of the impressions 33.3 % were answered." in text
    assert "# Delay p50 1.9 s, p99 2.95 s: a window of 3s." in text
    (tmp_path / "pipeline.yaml").write_text(text, encoding="utf-8")
    assert check_file(tmp_path / "pipeline.yaml").startswith("ok")


def test_what_somebody_sent_cannot_break_the_draft() -> None:
    odd = [{**row, "bad\n- name: x": number, 'quo"te': "a\n: b", "ä": number} for number, row in enumerate(shown())]
    kinds = [{**row, "sort": ["a\n- b: c", "x"][number % 2]} for number, row in enumerate(clicked())]
    text = draft(findings(odd, kinds), name="views", kafka=Kafka(bootstrap="h:1"), store="s3://b/v", endpoint=None)
    assert len(parse_pipeline(text).features) == 6


def test_two_kinds_of_feedback_have_windows_of_their_own() -> None:
    bought = [{**row, "t": row["t"] + 60_000} for row in clicked()[::2]]
    found = survey("views", messages(shown()), {"web-clicks": messages(clicked()), "orders": messages(bought)})
    pipeline = parse_pipeline(draft(found, name="m", kafka=Kafka(bootstrap="h:1"), store="s3://b/v", endpoint=None))
    windows = {each.name: str(pipeline.join.windows(each)[0]) for each in pipeline.events.feedback}
    assert windows == {"click": "3s", "order": "2m"}


def test_a_counter_is_no_key_though_it_pairs_and_a_number_that_repeats_is_none() -> None:
    ours = [{**row, "sequence": number, "rank": number % 10} for number, row in enumerate(shown())]
    theirs = [{**row, "sequence": number, "rank": number % 10} for number, row in enumerate(clicked())]
    ours = [{"view_id": row.pop("view"), **row} for row in ours]
    theirs = [{"view_id": row.pop("of"), **row} for row in theirs]
    found = findings(ours, theirs)
    assert found.key == "view_id" and ("sequence", "sequence") in found.feedback[0].pairing.others


def test_of_several_times_the_one_next_to_kafkas_is_the_events() -> None:
    rows = [{"born": 946_684_800 + number, "at": BEGIN_MS + STEP_MS * number} for number in range(20)]
    assert event_time(read_table("t", messages(rows))).path == "at"


@example(1_096_134_785_435, [993_280], "iso8601")
@given(
    st.integers(631_152_000_000, 4_102_444_799_999),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=20),
    st.sampled_from(sorted(WRITTEN)),
)
def test_a_unit_is_told_for_any_time_from_1990_to_2099(begin: int, steps: list[int], unit: str) -> None:
    """Against the plain reference: what was written in a unit is read back in it."""
    moments = [min(begin + step, 4_102_444_799_999) for step in steps]
    found = event_time(read_table("t", messages([{"at": WRITTEN[unit](each)} for each in moments])))
    assert found.unit == unit
    cut = 1000 if unit == "s" else 1
    assert [found.moments[n] for n in range(len(moments))] == [each // cut * cut for each in moments]


def refused(ours: list[Row], theirs: list[Row]) -> str:
    with pytest.raises(Invalid) as caught:
        findings(ours, theirs)
    return str(caught.value)


def test_exchanged_topics_are_told_with_the_right_call() -> None:
    with pytest.raises(Invalid) as caught:
        survey("clicks", messages(clicked()), {"views": messages(shown())})
    assert "the topics seem exchanged" in str(caught.value)
    assert "--impressions views --feedback clicks" in str(caught.value)


def test_a_clock_that_is_behind_is_no_exchange() -> None:
    found = findings(shown(), [{**row, "t": row["t"] - 3500} for row in clicked()])
    assert found.skew_s == 3 and found.feedback[0].p99_ms == 0


def test_without_a_common_key_both_topics_columns_are_named() -> None:
    text = refused(shown(), [{**row, "of": f"x{row['of']}"} for row in clicked()])
    assert "no common key" in text and "`view`" in text and "`of`" in text and "--messages" in text


def test_a_key_that_impressions_repeat_is_named() -> None:
    text = refused(shown(), [{"user_id": f"u{number % 40}", "t": BEGIN_MS + 9000 + number} for number in range(50)])
    assert "no common key: `user_id` is in both topics, but 260 of 300 impressions repeat it" in text


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (None, "write the time of the event into each message"),
        ("2026-11-27T06:00:00+01:00", "`at` is a time, but not in UTC with a `Z` at its end"),
        (BEGIN_MS * 1_000_000, "`at` is in nanoseconds"),
        (12.5, "write the time of the event"),
    ],
)
def test_without_a_time_the_nearest_is_named(time: Any, told: str) -> None:
    text = refused([{**row, "at": time} for row in shown()], clicked())
    assert "topic `views`: no column says when its events happened" in text and told in text


def test_what_is_no_json_is_told_by_its_form() -> None:
    for value, told in (
        (b"\x00\x00\x00\x00\x07abc", "--registry URL for Avro"),
        (b"text", "JSON objects, or for Protobuf"),
    ):
        with pytest.raises(Invalid, match="20 of 20 messages are no JSON objects") as caught:
            read_table("t", [Message(0, n, BEGIN_MS, value) for n in range(20)])
        assert told in caught.value.cure


def test_names_come_from_topics() -> None:
    assert [feedback_name(each) for each in ("web-clicks", "shop.orders", "press", "9")] == [
        "click",
        "order",
        "press",
        "feedback",
    ]
    assert [model_name(each) for each in ("movielens.impressions", "Shop_Views", "9")] == [
        "movielens",
        "shop_views",
        "model",
    ]
