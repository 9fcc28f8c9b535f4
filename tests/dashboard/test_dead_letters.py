"""Dead letters on the page: their shape can be read, what a person wrote or did cannot."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.dead import KEPT, SHOWN_BYTES, DeadLetters, masked, words
from tests.dashboard.loop import pipeline_for

NAMES = {"id", "ts", "item"}


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"id": "ada-7", "ts": null}', '{"id": "xxx-9", "ts": null}'),
        (b'{"mail": "ada@home.example", "ok": true}', '{"xxxx": "xxx@xxxx.xxxxxxx", "xx": true}'),
        ("\u00e9t\u00e9 \u2764 12,5".encode(), "xxx x 99,9"),
        (b"", ""),
        (bytes(range(256)), ""),
        (b"\xff\xfe", ""),
    ],
)
def test_letters_and_digits_are_hidden_and_the_pipelines_names_are_not(raw: bytes, shown: str) -> None:
    assert masked(raw, NAMES) == shown


@given(st.text(max_size=2 * SHOWN_BYTES))
def test_nothing_of_a_text_is_left_but_plain_signs(text: str) -> None:
    shown = masked(text.encode()[:SHOWN_BYTES])
    left = re.sub(r"\b(true|false|null)\b", "", shown)
    assert not re.search(r"[^\x00-\x7f]|[a-wyzA-Z0-8]", left)


def test_the_newest_are_kept_and_nonsense_is_survived() -> None:
    letters = DeadLetters(NAMES)
    for n in range(KEPT + 5):
        body = base64.b64encode(b"%d" % n).decode()
        letters.add({"reason": "no_key", "topic": "t", "partition": 0, "offset": n, "body": body}, n)
    odd: list[dict[str, Any]] = [{}, {"body": "no base64", "partition": {"a": 1}, "reason": ["x"] * 99}, {"body": 7}]
    for letter in odd:
        letters.add(letter, 99)
    rows = letters.rows()
    assert len(rows) == KEPT
    assert rows[3] == {
        "t": KEPT + 4,
        "reason": "no_key",
        "topic": "t",
        "partition": 0,
        "offset": KEPT + 4,
        "bytes": 2,
        "body": "99",
    }
    assert all(row["body"] == "" and row["partition"] is None for row in rows[:3])
    assert all(len(row["reason"]) <= 40 for row in rows)


def test_the_words_of_a_pipeline_are_its_fields_and_keys(tmp_path: Any) -> None:
    assert words(pipeline_for(tmp_path, "words")) == NAMES
