"""Decoding: whole blocks at once, and every broken message alone set aside."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.decode import SampleDecoder, is_feedback, join_keys
from streaming.sample import sample_schema
from tests.learner.messages import START_MS, message, pipeline, sample

EVENTS = pipeline().events
DECODER = SampleDecoder(sample_schema(EVENTS), ["label_click"])


def test_columns_in_the_order_of_the_messages() -> None:
    samples, rejected = DECODER.decode([message(number) for number in range(100)])
    assert not rejected
    assert samples.sample_ids.to_pylist() == [f"imp-{number}#click.0" for number in range(100)]
    assert samples.index.tolist() == list(range(100))
    assert samples.impression_ms.tolist() == [START_MS + number * 10 for number in range(100)]
    assert samples.labels[:, 0].tolist() == [sample(number)["label_click"] for number in range(100)]
    assert samples.columns.column_names == ["user", "item", "age", "genres"]
    assert samples.columns["genres"].to_pylist()[:2] == [["drama"], ["drama", "comedy"]]
    assert samples.labels.dtype == samples.weights.dtype == np.float32


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("2026-11-23T11:49:52.123Z", 1_795_434_592_123),
        ("2026-11-23T11:49:52.1Z", 1_795_434_592_100),
        ("2026-11-23T11:49:52Z", 1_795_434_592_000),
        ("2026-11-23 11:49:52.123Z", 1_795_434_592_123),
        ("2026-11-23 11:49:52.123", 1_795_434_592_123),
        ("2026-11-23T12:49:52.123+01:00", 1_795_434_592_123),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_times_with_and_without_a_fraction(written: str, milliseconds: int) -> None:
    samples, rejected = DECODER.decode([message(0, known_ts=written), message(1)])
    assert not rejected
    assert samples.known_ms[0] == milliseconds


def test_null_and_absent_read_as_null() -> None:
    bare = {name: value for name, value in sample(0).items() if name not in ("user", "age")}
    samples, rejected = DECODER.decode([json.dumps(bare).encode(), message(1, label_click=None, genres=None)])
    assert not rejected
    assert samples.columns["user"].to_pylist() == [None, sample(1)["user"]]
    assert samples.columns["age"].to_pylist()[0] is None
    assert np.isnan(samples.labels[1, 0])
    assert samples.columns["genres"].to_pylist()[1] is None


def test_what_the_schema_does_not_name_is_ignored() -> None:
    samples, rejected = DECODER.decode([message(0, extra={"deep": [1, {"x": None}]}), message(1)])
    assert len(samples) == 2 and not rejected


BROKEN: dict[str, bytes | None] = {
    "tombstone": None,
    "nothing": b"",
    "blanks": b" \n ",
    "not JSON": b"hello",
    "cut off": message(0)[:-5],
    "a list": b"[1, 2]",
    "a number": b"5",
    "not UTF-8": message(0, user="x").replace(b'"x"', b'"\xff\xfe"'),
    "two objects": message(1) + message(2),
    "two lines": message(1) + b"\n" + message(2),
    "something behind": message(1) + b" x",
    "a key twice": message(1)[:-1] + b', "item": 4}',
    "no id": message(1, sample_id=None),
    "empty id": message(1, sample_id=""),
    "no time": message(1, impression_ts=None),
    "a bad time": message(1, known_ts="2026-13-45T00:00:00.000Z"),
    "a number for a time": message(1, known_ts=17),
    "label 2": message(1, label_click=2),
    "label as text": message(1, label_click="1"),
    "negative weight": message(1, weight=-1),
    "huge weight": message(1, weight=1e300),
    "weight of more than a million": message(1, weight=1_000_001),
    "no weight": message(1, weight=None),
    "text for a number": message(1, age="old"),
    "a fraction for an integer": message(1, item=1.5),
    "an object for a list": message(1, genres={"a": 1}),
    "a line break in a text": message(1, user="x").replace(b'"x"', b'"a\nb"'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_message_alone_is_set_aside_with_a_reason(name: str) -> None:
    block = [message(10), BROKEN[name], message(11), message(12)]
    samples, rejected = DECODER.decode(block)
    assert samples.sample_ids.to_pylist() == [f"imp-{number}#click.0" for number in (10, 11, 12)]
    assert samples.index.tolist() == [0, 2, 3]
    assert [each.index for each in rejected] == [1]
    assert rejected[0].reason
    alone, only = DECODER.decode([BROKEN[name]])
    assert not len(alone) and len(only) == 1


def test_two_halves_of_an_object_do_not_make_one_row_of_two_messages() -> None:
    """The counts of rows and messages agree here, and yet no row may stand for another message than its own."""
    first, second = b'{"a": {}', message(1)[1:]
    samples, rejected = DECODER.decode([first, b"," + second, message(2) + message(3), message(4)])
    assert samples.sample_ids.to_pylist() == ["imp-4#click.0"]
    assert [each.index for each in rejected] == [0, 1, 2]


def test_written_over_several_lines_it_is_still_one_sample() -> None:
    pretty = json.dumps(sample(1), indent=2).encode() + b"\n"
    samples, rejected = DECODER.decode([message(0), pretty, message(2)])
    assert len(samples) == 3 and not rejected


def test_no_messages() -> None:
    samples, rejected = DECODER.decode([])
    assert len(samples) == 0 and not rejected
    assert samples.labels.shape == (0, 1)


def test_a_message_larger_than_a_megabyte() -> None:
    samples, rejected = DECODER.decode([message(0), message(1, user="x" * 3_000_000), message(2)])
    assert len(samples) == 3 and not rejected


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 99), st.sampled_from(sorted(BROKEN))), max_size=24))
def test_any_mixture_keeps_the_good_in_order_and_names_the_bad(mixture: list[Any]) -> None:
    block = [message(each) if isinstance(each, int) else BROKEN[each] for each in mixture]
    samples, rejected = DECODER.decode(block)
    good = [place for place, each in enumerate(mixture) if isinstance(each, int)]
    assert samples.index.tolist() == good
    assert samples.sample_ids.to_pylist() == [f"imp-{mixture[place]}#click.0" for place in good]
    assert [each.index for each in rejected] == [place for place in range(len(mixture)) if place not in good]


@given(st.text(min_size=1), st.integers(0, 99))
def test_the_join_key_is_what_stands_before_the_last_number_sign(key: str, emission: int) -> None:
    assert join_keys(pa.array([f"{key}#click.{emission}"])).to_pylist() == [key]


def test_feedback_is_what_a_user_did() -> None:
    assert is_feedback(pa.array(["click", "timeout", "correction"])).tolist() == [True, False, True]
