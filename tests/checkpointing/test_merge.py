"""Any deltas in any split merge to what a dict would hold."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpointing.hash_order import mix64, strictly_ascending
from checkpointing.merge import Fold, merge
from infra.errors import Corrupt
from kernels.rows import TableRows
from tests.checkpointing.reference import Row, by_key, row, table

# A delta: key -> number of its row, or None for a tombstone.
deltas = st.lists(st.dictionaries(st.integers(-3, 12), st.none() | st.integers(1, 99), max_size=8), max_size=12)


def in_hash_order(delta: dict[int, int | None]) -> TableRows:
    order = sorted(delta, key=lambda key: int(mix64(np.array([key], dtype=np.int64))[0]))
    rows = {key: number for key in order if (number := delta[key]) is not None}
    return table("item", rows, [key for key in order if delta[key] is None])


@settings(deadline=None)
@given(deltas, st.booleans())
def test_a_fold_is_what_a_dict_holds(steps: list[dict[int, int | None]], keep_tombstones: bool) -> None:
    fold, held = Fold(), dict[int, int | None]()
    for step in steps:
        fold.add(in_hash_order(step))
        held |= step
    result = fold.result(keep_tombstones=keep_tombstones)
    if not steps:
        assert result == ()
        return
    (merged,) = result
    rows: dict[int, Row] = {key: row(number) for key, number in held.items() if number is not None}
    gone = {key for key, number in held.items() if number is None}
    assert by_key(merged) == rows
    assert set(merged.tombstones.tolist()) == (gone if keep_tombstones else set())
    assert strictly_ascending(mix64(merged.keys)) and strictly_ascending(mix64(merged.tombstones))


def test_a_fold_goes_on_after_its_result() -> None:
    fold = Fold()
    fold.add(in_hash_order({1: 1, 2: 2}))
    fold.result(keep_tombstones=True)
    fold.add(in_hash_order({1: None, 3: 3}))
    assert set(by_key(fold.result(keep_tombstones=False)[0])) == {2, 3}


def test_many_small_deltas_cost_no_pass_over_the_large_one() -> None:
    """The runs halve from the bottom up, so a long chain stays n log n."""
    fold = Fold()
    fold.add(in_hash_order({key: 1 for key in range(1000)}))
    for key in range(200):
        fold.add(in_hash_order({key: 2}))
    assert len(fold._runs["item"]) > 1 and len(fold._runs["item"][0].keys) == 1000


def test_another_width_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="from 2 values and 3 slots"):
        merge(table("item", {1: 1}), table("item", {2: 1}, dim=5))
