"""The gate: a number that is none, anywhere in the accumulated state, keeps a version from the replicas."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.rows import TableRows
from learner.gate import QualityGate

DENSE = {"bias": np.zeros(1, np.float32)}


def rows(values: dict[int, float], tombstones: Sequence[int] = ()) -> TableRows:
    count = len(values)
    return TableRows(
        table="item",
        keys=np.array(list(values), np.int64),
        values=np.array([[value, 0.0] for value in values.values()], np.float32).reshape(count, 2),
        slots=np.zeros((count, 2), np.float32),
        frequency=np.zeros(count, np.uint32),
        last_seen=np.zeros(count, np.int64),
        tombstones=np.array(tombstones, np.int64),
    )


def test_finite_numbers_may_be_served() -> None:
    gate = QualityGate().judge([rows({1: 0.5, -2: 1e30})], DENSE, True)
    assert gate.servable and not gate.reasons


def test_each_kind_of_broken_number_is_named() -> None:
    dense = {"bias": np.zeros(1, np.float32), "kernel": np.array([1, np.nan, np.inf], np.float32)}
    gate = QualityGate().judge([rows({1: np.nan, 2: 1.0})], dense, False)
    assert not gate.servable
    assert gate.reasons == (
        "not finite: 2 of 3 values of dense weight `kernel`",
        "not finite: 1 rows of table `item`",
        "not finite: the log loss of a batch",
    )


def test_a_broken_row_bars_later_versions_until_it_is_finite_again_or_gone() -> None:
    gate = QualityGate()
    assert not gate.judge([rows({1: np.nan, 2: np.inf})], DENSE, True).servable
    assert not gate.judge([rows({3: 1.0})], DENSE, True).servable
    assert not gate.judge([rows({1: 1.0})], DENSE, True).servable
    assert gate.judge([rows({}, tombstones=[2])], DENSE, True).servable


def test_after_a_restore_it_knows_the_broken_rows() -> None:
    gate = QualityGate()
    gate.note(rows({1: np.nan, 2: np.nan}))
    gate.note(rows({1: 0.0}))
    assert gate.judge([], DENSE, True).reasons == ("not finite: 1 rows of table `item`",)
