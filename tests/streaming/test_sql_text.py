"""Names, texts and spans in SQL: what goes in comes out, whatever it is."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import Invalid
from infra.units import Duration
from streaming.sql_text import identifier, interval, literal


def unquoted(text: str, quote: str) -> str:
    """What Flink's lexer makes of one quoted token; fails where the token ends before the text does."""
    assert text[0] == text[-1] == quote
    inside = text[1:-1]
    assert quote not in inside.replace(quote * 2, "")
    return inside.replace(quote * 2, quote)


@given(st.text())
def test_an_identifier_ends_where_it_should(name: str) -> None:
    assert unquoted(identifier(name), "`") == name


@given(st.text())
def test_a_literal_ends_where_it_should(text: str) -> None:
    assert unquoted(literal(text), "'") == text


@given(st.integers(min_value=0, max_value=999 * 86_400_000))
def test_an_interval_is_exact(milliseconds: int) -> None:
    found = re.fullmatch(
        r"INTERVAL '(\d{1,3}) (\d\d):([0-5]\d):([0-5]\d)\.(\d{3})' DAY\(3\) TO SECOND\(3\)",
        interval(Duration(f"{milliseconds}ms")),
    )
    assert found is not None
    days, hours, minutes, seconds, rest = map(int, found.groups())
    assert (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + rest == milliseconds


def test_an_interval_too_long_for_flink_is_refused() -> None:
    with pytest.raises(Invalid, match=r"1000d.*999d"):
        interval(Duration("1000d"))
