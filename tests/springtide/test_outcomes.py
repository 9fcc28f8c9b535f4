"""What became of every event is counted by key: repeats count once, and nothing makes up for a loss elsewhere."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpointing.quality import Quality
from springtide.outcomes import Outcomes
from springtide.reckoning import Reckoning

RIGHT = Reckoning(
    impressions=5,
    clicks=3,
    decided=5,
    answered=3,
    late=1,
    orphans=1,
    dead={},
    samples=5,
    repeated=0,
    trained=5,
    uncovered=0,
    versions=2,
    quality=Quality(),
)

Record = tuple[str, bytes]


def sample(key: str, kind: str, emission: int) -> Record:
    return "sample", orjson.dumps({"sample_id": f"{key}#click.{emission}", "kind": kind})


def late(key: str, reason: str) -> Record:
    return "late", orjson.dumps({"reason": reason, "key": key})


def dead(topic: str, offset: int) -> Record:
    return "dead", orjson.dumps({"reason": "malformed", "topic": topic, "partition": 0, "offset": offset, "body": ""})


def collect(records: Iterable[Record]) -> Outcomes:
    outcomes = Outcomes()
    for topic, value in records:
        getattr(outcomes, f"add_{topic}")(value)
    return outcomes


# What the join makes of one impression: whether it was decided, whether it has a click, and the records.
FATES: dict[str, tuple[int, int, Callable[[str], list[Record]]]] = {
    "timeout": (1, 0, lambda key: [sample(key, "timeout", 0)]),
    "click": (1, 1, lambda key: [sample(key, "click", 0)]),
    "corrected": (1, 1, lambda key: [sample(key, "timeout", 0), sample(key, "correction", 1)]),
    "click after the windows": (1, 1, lambda key: [sample(key, "timeout", 0), late(key, "orphan")]),
    "late": (1, 0, lambda key: [late(key, "late_impression")]),
    "late with a click": (1, 1, lambda key: [late(key, "late_impression"), late(key, "orphan")]),
    "lost with its click": (0, 0, lambda key: []),
    "lost, its click an orphan": (0, 1, lambda key: [late(key, "orphan")]),
}


@given(st.lists(st.sampled_from(sorted(FATES)), max_size=20), st.randoms(use_true_random=False), st.integers(1, 3))
def test_every_impression_and_click_counts_once_however_often_its_records_come(
    fates: list[str], chance: random.Random, copies: int
) -> None:
    keys = [f"odd#key.{number}" for number in range(len(fates))]
    records = [record for key, fate in zip(keys, fates, strict=True) for record in FATES[fate][2](key)] * copies
    chance.shuffle(records)
    outcomes = collect(records)
    assert outcomes.decided == sum(FATES[fate][0] for fate in fates)
    assert outcomes.answered == sum(FATES[fate][1] for fate in fates)
    assert outcomes.samples.total() == copies * len(outcomes.samples)


def test_probes_are_samples_but_nobodys_impressions_or_clicks() -> None:
    outcomes = collect([sample("__probe-1", "click", 0), late("__probe-2", "orphan"), sample("a", "timeout", 0)])
    assert (outcomes.decided, outcomes.answered, len(outcomes.samples)) == (1, 0, 2)


def test_dead_letters_count_by_place_and_topic() -> None:
    outcomes = collect([dead("shown", 1), dead("shown", 1), dead("shown", 2), dead("clicked", 1)])
    assert {topic: len(places) for topic, places in outcomes.dead.items()} == {"shown": 2, "clicked": 1}


def test_all_is_right_where_everything_has_its_outcome() -> None:
    assert RIGHT.right
    assert (RIGHT.lost, RIGHT.doubled) == (0, 0)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("lost_impressions", replace(RIGHT, decided=4)),
        ("lost_impressions", replace(RIGHT, decided=4, dead={"shown": 1})),
        ("lost_clicks", replace(RIGHT, answered=2)),
        ("missed", replace(RIGHT, trained=4)),
        ("doubled", replace(RIGHT, trained=6)),
        ("uncovered", replace(RIGHT, uncovered=1)),
        ("unsent", replace(RIGHT, decided=6)),
        ("unsent", replace(RIGHT, answered=4)),
    ],
)
def test_one_thing_wrong_is_named_and_counted(name: str, wrong: Reckoning) -> None:
    assert not wrong.right
    assert getattr(wrong, name) == 1
    assert wrong.lost == (1 if name in {"lost_impressions", "lost_clicks", "missed"} else 0)


def test_a_loss_is_not_made_up_for_by_a_surplus_elsewhere() -> None:
    wrong = replace(RIGHT, decided=4, answered=4, trained=6)
    assert (wrong.lost, wrong.doubled, wrong.unsent) == (1, 1, 1)
