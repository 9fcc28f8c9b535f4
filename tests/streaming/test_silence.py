"""When feedback counts as silent, from counts alone."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from streaming.silence import Silence


def silent(*counts: tuple[int, int]) -> list[bool]:
    watch = Silence(("click",))
    return ["click" in watch.saw(impressions, {"click": clicks}) for impressions, clicks in counts]


def test_none_where_twenty_were_to_be_expected_is_silence_until_the_first_comes() -> None:
    """A tenth is answered: 199 more impressions are chance, 200 are not."""
    assert silent((10_000, 1000), (10_199, 1000), (10_200, 1000), (11_000, 1000), (11_001, 1001)) == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_traffic_that_stops_is_no_silence() -> None:
    assert silent(*[(10_000, 1000)] * 50) == [False] * 50


def test_what_was_always_rare_or_is_new_is_no_silence() -> None:
    assert silent((10_000, 99), (90_000, 99)) == [False, False]
    assert silent((0, 0), (90_000, 0)) == [False, False]


def test_a_rarer_kind_is_waited_for_longer() -> None:
    assert silent((100_000, 100), (119_999, 100), (120_000, 100)) == [False, False, True]


def test_each_kind_is_judged_alone() -> None:
    watch = Silence(("click", "order"))
    watch.saw(10_000, {"click": 1000, "order": 100})
    assert watch.saw(10_500, {"click": 1000, "order": 101}) == {"click"}
