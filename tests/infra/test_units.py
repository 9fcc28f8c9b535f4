"""Quantities with units: the number behind the text, and the refusal of anything else."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.units import ByteSize, Duration

MILLISECONDS = {"ms": 1, "s": 1000, "m": 60 * 1000, "h": 3600 * 1000, "d": 24 * 3600 * 1000}


@given(st.integers(0, 10**6), st.sampled_from(sorted(MILLISECONDS)))
def test_durations_are_their_number_of_milliseconds(number: int, unit: str) -> None:
    duration = Duration(f"{number}{unit}")
    assert duration.ms == number * MILLISECONDS[unit]
    assert duration.seconds * 1000 == pytest.approx(duration.ms)
    assert duration == f"{number}{unit}"


def test_fractions_and_spaces_are_understood() -> None:
    assert Duration("1.5h").ms == 5_400_000
    assert Duration("250 ms").ms == 250
    assert ByteSize("64MiB").bytes == 64 * 1024 * 1024
    assert ByteSize("1KB").bytes == 1000


@pytest.mark.parametrize("text", ["10", "", "m", "10M", "-5m", "1e3s", "10 minutes", "10m5s", "٣m", "10m\n"])
def test_anything_else_is_refused_with_the_wanted_form(text: str) -> None:
    with pytest.raises(ValueError, match="wanted a number with a unit of ms, s, m, h, d, such as `10m`"):
        Duration(text)
