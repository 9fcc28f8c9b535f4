"""Downsampling against a plain reference, restarts, retention, and files that cannot be used."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard.history import History
from dashboard.past import COARSE, DAY, FINE_KEPT, MIDDLE, MINUTE, POINTS, SECOND, SLACK, STEPS, quantile
from infra.errors import Corrupt, Invalid

START = 1_700_000_000_000 - 1_700_000_000_000 % COARSE


def points(history: History, name: str, start: int, end: int) -> dict[int, tuple[float | None, float | None]]:
    found = history.reader().range(start, end)
    series = found.series.get(name, {"mean": [], "max": []})
    return {
        found.start + found.step * i: pair
        for i, pair in enumerate(zip(series["mean"], series["max"], strict=True))
        if pair[0] is not None
    }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seconds=st.dictionaries(st.integers(0, 900), st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60),
    restarts=st.sets(st.integers(0, 60)),
    minutes=st.sampled_from([5, 16, 61, 180, 24 * 60, 48 * 60]),
)
def test_every_range_adds_up_like_the_raw_points(
    tmp_path_factory: pytest.TempPathFactory, seconds: dict[int, float], restarts: set[int], minutes: int
) -> None:
    path = tmp_path_factory.mktemp("history") / "h.sqlite"
    history = History(path)
    try:
        for number, (second, value) in enumerate(sorted(seconds.items())):
            if number in restarts:
                history.close()
                history = History(path)
            history.record(START + second * SECOND + 250, {"a": value})
        end = START + (max(seconds) + 1) * SECOND
        begin = end - minutes * MINUTE
        found = history.reader().range(begin, end)
        assert found.step in STEPS and len(found.series["a"]["mean"]) <= POINTS + 1
        # A point of a coarse table is a mean of its seconds; a wider point is a mean of those means.
        span = SECOND if minutes <= 60 else MIDDLE if minutes <= 24 * 60 else COARSE
        rolled = (START + max(seconds) * SECOND) // span * span
        parts: dict[int, list[float]] = {}
        for second, value in seconds.items():
            t = START + second * SECOND
            parts.setdefault(t // span * span if t < rolled else t, []).append(value)
        wanted: dict[int, list[list[float]]] = {}
        for t, values in parts.items():
            if t >= found.start:
                wanted.setdefault((t - found.start) // found.step, []).append(values)
        for index, (mean, most) in enumerate(zip(found.series["a"]["mean"], found.series["a"]["max"], strict=True)):
            if index not in wanted:
                assert mean is None and most is None
                continue
            means = [math.fsum(values) / len(values) for values in wanted[index]]
            assert mean == pytest.approx(math.fsum(means) / len(means), abs=1e-3, rel=1e-9)
            assert most == pytest.approx(max(max(values) for values in wanted[index]), abs=1e-3)
        if span == COARSE:
            assert found.series["a"]["p99"]
    finally:
        history.close()


def test_a_restart_goes_on_and_old_points_become_coarser(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "h.sqlite"
    history = History(path)
    for second in range(30):
        history.record(START + second * SECOND, {"behind": float(second)})
    history.close()
    later = START + FINE_KEPT + SLACK + COARSE
    history = History(path)
    history.record(later, {"behind": 7.0})
    history.record(later + COARSE, {"behind": 8.0})
    fine = points(history, "behind", START, START + 30 * SECOND)
    assert fine == {}, "seconds are kept for an hour"
    ten = points(history, "behind", later - 3 * 60 * MINUTE, later + SECOND)
    step = 3 * 60 * MINUTE // POINTS
    assert max(most or 0 for _, most in ten.values()) == 29 and step <= 15 * SECOND
    month = history.reader().range(later - 29 * DAY, later + SECOND).series["behind"]
    assert max(value or 0 for value in month["p99"]) == 29
    history.close()


def test_memory_on_disk_is_bounded(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite")
    for hour in range(0, 24 * 40, 6):
        history.record(START + hour * 60 * MINUTE, {"a": 1.0})
        history.add_event(START + hour * 60 * MINUTE, "up", "x")
    rows = sqlite3.connect(tmp_path / "h.sqlite")
    counts = {name: rows.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("fine", "middle", "coarse")}
    assert counts["fine"] <= 2 and counts["middle"] <= 5 and counts["coarse"] <= 4 * 31
    assert rows.execute("SELECT count(*) FROM events").fetchone()[0] <= 4 * 31
    rows.close()
    history.close()


def test_figures_that_are_none_are_left_out(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite")
    history.record(START, {"a": math.nan, "b": math.inf, "c": 1.0})
    assert set(history.reader().range(START, START + SECOND).series) == {"c"}
    history.close()


def test_another_line_of_versions_drops_the_quality_of_the_first(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite")
    assert not history.begin_line("a")
    history.put_quality([(START, 0, b"x")], drop=[], meta=("quality_through", "7"))
    assert not history.begin_line("a") and history.quality(0) == [(START, b"x")]
    assert history.begin_line("b")
    assert history.quality(0) == [] and history.meta("quality_through") is None
    history.close()


def test_files_that_cannot_be_used_are_named_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"no database at all, but longer than a header" * 40)
    with pytest.raises(Corrupt, match="move the file away"):
        History(tmp_path / "damaged")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Invalid, match=r"dashboard\.history"):
        History(tmp_path / "folder")
    old = History(tmp_path / "old")
    old.set_meta("layout", "99")
    old.close()
    with pytest.raises(Invalid, match="layout 99"):
        History(tmp_path / "old")


def test_quantile_is_the_nearest_rank() -> None:
    values = [float(v) for v in range(1, 101)]
    assert quantile(values, 0.5) == 50 and quantile(values, 0.99) == 99 and quantile([3.0], 0.99) == 3
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)
