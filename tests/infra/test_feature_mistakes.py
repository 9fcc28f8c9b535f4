"""Mistakes in features, and in what a model wants of them, with the exact lines that answer; knows the file's door."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.infra.pipelines import changed
from tests.infra.test_pipeline_mistakes import lines

# What is replaced, by what, and the lines that answer it.
MISTAKES: list[tuple[str, str, list[str]]] = [
    # Features of other kinds.
    (
        "{kind: number, name: price, source: price, scaling: log}",
        "{kind: cross, name: both, sources: [usr, price], table: users}",
        [
            "23:41  features.3.sources.0: `usr` is no field of `events.impressions`; nearest is `user`",
            "23:46  features.3.sources.1: `price` is of type number; a feature of kind cross wants one of "
            "string, integer, list[string], list[integer]",
        ],
    ),
    (
        "{kind: number, name: price, source: price, scaling: log}",
        "{kind: cross, name: both, sources: [user], table: users}",
        ["23:40  features.3.sources: got a list of 1, wanted at least 2 entries"],
    ),
    (
        "{kind: number, name: price, source: price, scaling: log}",
        "{kind: bucket, name: price, source: price, table: users, boundaries: [1, 1]}",
        ["23:74  features.3.boundaries: wanted finite numbers, each larger than the one before"],
    ),
    (
        "source: item, table: items}",
        "source: item, table: items, vocabulary: [7, seven]}",
        ["21:62  features.1.vocabulary.1: got `seven`, wanted an integer of 64 bits"],
    ),
    (
        "source: user, table: users}",
        "source: user, table: users, vocabulary: [a, b, a]}",
        ["20:58  features.0.vocabulary: `a` stands in it twice; wanted each value once"],
    ),
    # What a model wants of the features.
    (
        "table: items, combiner: sum}",
        "table: items, combiner: none, length: 3}",
        [
            "22:56  features.2.combiner: model `deepfm` reads one row per feature; wanted mean, sum or sqrtn, "
            "or model `din`"
        ],
    ),
    (
        "{name: deepfm, hidden: [64, 32]}",
        "{name: din, candidate: itm, history: tags}",
        [
            "27:31  model.candidate: got `itm`, wanted a feature with one row; nearest is `item`",
            "27:45  model.history: got `tags`, wanted a feature with combiner none",
        ],
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES, ids=[f"{new!r}" for _, new, _ in MISTAKES])
def test_a_mistake_is_answered_by_exactly_these_lines(old: str, new: str, expected: list[str]) -> None:
    assert lines(changed(old, new)) == expected
