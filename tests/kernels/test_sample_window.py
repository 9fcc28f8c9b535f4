"""A sample is first seen once within the horizon; restoring changes no answer."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.sample_window import SampleIdWindow

HORIZON = 100
calls = st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 400)), max_size=8), max_size=12)


def admit(window: SampleIdWindow, call: list[tuple[int, int]]) -> list[bool]:
    ids = pa.array([str(name) for name, _ in call], pa.string())
    return window.admit(ids, np.array([known for _, known in call], np.int64)).tolist()  # type: ignore[no-any-return]


class Reference:
    """A dict from id to the stream time of its admission."""

    def __init__(self) -> None:
        self.clock = -(10**18)
        self.seen: dict[int, int] = {}
        self.beyond = 0

    def admit(self, call: list[tuple[int, int]]) -> list[bool]:
        answers = []
        for name, known in call:
            self.clock = max(self.clock, known)
            self.seen = {one: at for one, at in self.seen.items() if at >= self.clock - HORIZON}
            answers.append(name not in self.seen)
            if answers[-1]:
                self.seen[name] = self.clock
                self.beyond += known < self.clock - HORIZON
        return answers


@settings(max_examples=200, deadline=None)
@given(calls)
def test_equals_the_reference(sequence: list[list[tuple[int, int]]]) -> None:
    window, reference = SampleIdWindow(HORIZON), Reference()
    for call in sequence:
        assert admit(window, call) == reference.admit(call)
        assert len(window) == len(reference.seen)
    assert window.beyond_horizon == reference.beyond


@settings(max_examples=200, deadline=None)
@given(calls, st.lists(st.sampled_from(["on", "capture", "abandon", "fold", "export"]), min_size=12, max_size=12))
def test_a_restored_window_answers_as_the_one_that_went_on(
    sequence: list[list[tuple[int, int]]], turns: list[str]
) -> None:
    window, straight = SampleIdWindow(HORIZON), SampleIdWindow(HORIZON)
    increments = []
    for call, turn in zip(sequence, turns, strict=False):
        assert admit(window, call) == admit(straight, call)
        if turn == "capture":
            increments.append(window.capture())
        elif turn == "abandon":
            window.put_back(window.capture())
        elif turn == "fold":
            increments.append(window.capture())
            window = SampleIdWindow(HORIZON)
            for increment in increments:
                window.import_increment(increment)
        elif turn == "export":
            increments.append(window.capture())
            whole = window.export()
            window = SampleIdWindow(HORIZON)
            window.import_increment(whole)
        assert len(window) == len(straight)
    np.testing.assert_array_equal(window.export(), straight.export())


def test_within_the_horizon_no_repeat_passes_and_nothing_is_lost() -> None:
    window = SampleIdWindow(1000)
    assert window.admit(["a", "b", "a"], np.array([0, 500, 0])).tolist() == [True, True, False]
    assert window.admit([b"a", b"b"], np.array([0, 500])).tolist() == [False, False]
    assert window.admit(["c"], np.array([1000])).tolist() == [True]
    assert window.admit(["a", "b"], np.array([0, 500])).tolist() == [False, False]


def test_beyond_the_horizon_a_first_copy_is_admitted_and_counted_and_its_repeat_is_not() -> None:
    window = SampleIdWindow(1000)
    window.admit(["new"], np.array([10_000]))
    assert window.admit(["late", "late"], np.array([1, 1])).tolist() == [True, False]
    assert window.admit(["late"], np.array([1])).tolist() == [False]
    assert window.beyond_horizon == 1


def test_an_increment_tells_how_far_stream_time_went_even_without_new_ids() -> None:
    window = SampleIdWindow(1000)
    window.admit(["a"], np.array([5]))
    assert window.capture().shape == (1, 2)
    window.admit(["a"], np.array([900]))
    assert window.capture().tolist() == [[900, 0]]
    assert window.capture().shape == (0, 2)


def test_a_million_ids_in_and_out() -> None:
    window = SampleIdWindow(200_000)
    for begin in range(0, 1_000_000, 100_000):
        ids = pa.array(np.arange(begin, begin + 100_000).astype(str))
        known = np.arange(begin, begin + 100_000)
        assert window.admit(ids, known).all()
        assert not window.admit(ids, known).any()
        assert len(window.capture()) == 100_000
    assert len(window) == 200_001
    assert window.memory_bytes() < 200_000 * 100


def test_bad_ids_are_refused() -> None:
    window = SampleIdWindow(10)
    with pytest.raises(ValueError, match="1 of 2 sample ids are null"):
        window.admit(pa.array(["a", None]), np.array([1, 2]))
    with pytest.raises(ValueError, match="got int64; wanted string"):
        window.admit(pa.array([1]), np.array([1]))
    with pytest.raises(ValueError, match="one entry per sample id"):
        window.admit(["a"], np.array([1, 2]))
    with pytest.raises(ValueError, match=r"shape \[n, 2\]"):
        window.import_increment(np.zeros((1, 3), np.int64))
    assert window.admit([], np.array([], np.int64)).tolist() == []
    assert len(window) == 0


def test_extreme_times() -> None:
    window = SampleIdWindow(2**63 - 1)
    times = np.array([-(2**63), 2**63 - 1, 0])
    assert window.admit(["a", "b", "c"], times).tolist() == [True, True, True]
    assert window.admit(["b", "c"], times[1:]).tolist() == [False, False]
