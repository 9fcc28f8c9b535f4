"""Quality by slice: exact sums over a window of versions that says where it begins, and no slice hidden silently."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpointing.content import Content
from checkpointing.manifest import Manifest
from checkpointing.quality import Quality
from checkpointing.writer import Writer
from dashboard.slices import MOST_KNOWN, MOST_SHOWN, SPAN, SPANS, QualityBySlice
from infra.object_store import open_store
from infra.spec import Store
from tests.dashboard.loop import CLOCK, quality_of

Make = Callable[..., Manifest]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A real manifest with another number and other quality."""
    store = open_store(Store(url=tmp_path_factory.mktemp("versions").as_uri()))
    committed = Writer.take_over(store, "sliced", "test", CLOCK).commit(Content())

    def made(version: int, slices: dict[str, Any], labels: dict[str, Any] | None = None) -> Manifest:
        bucket = quality_of(10, 3) | {"slices": {"page": slices}, "labels": labels or {}}
        return committed.model_copy(update={"version": version, "metrics": {"1000": bucket}})

    return made


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 20), st.integers(0, 9)), min_size=1, max_size=12))
def test_the_sums_are_those_of_all_versions_at_once(make: Make, increments: list[tuple[str, int, int]]) -> None:
    by_slice = QualityBySlice()
    plain: dict[str, Quality] = {}
    for version, (name, samples, seed) in enumerate(increments, start=1):
        sums = quality_of(samples, samples // 3, seed=seed)
        by_slice.add([make(version, {name: sums})])
        plain.setdefault(f"page={name}", Quality()).add(Quality.from_json(sums))
    section = by_slice.section()
    assert section is not None
    assert (section["from_version"], section["through_version"], section["left_out"]) == (1, len(increments), 0)
    assert [row["name"] for row in section["rows"]] == sorted(plain)
    for row in section["rows"]:
        wanted = plain[row["name"]]
        assert (row["samples"], row["positives"]) == (wanted.samples, wanted.positives)
        for name in ("auc", "log_loss", "calibration"):
            assert row[name] == (None if (value := getattr(wanted, name)) is None else pytest.approx(value, abs=1e-4))


def test_old_versions_leave_and_the_window_says_where_it_begins(make: Make) -> None:
    by_slice = QualityBySlice()
    one = quality_of(1, 0)
    last = SPAN * (SPANS + 3) + 7
    by_slice.add(make(version, {"old" if version <= SPAN else "new": one}) for version in range(5, last + 1))
    section = by_slice.section()
    assert section is not None
    assert [row["name"] for row in section["rows"]] == ["page=new"]
    window = section["through_version"] - section["from_version"] + 1
    assert section["through_version"] == last and SPAN * SPANS <= window < SPAN * (SPANS + 1)
    assert section["rows"][0]["samples"] == window


def test_the_largest_slices_are_shown_and_the_rest_is_counted(make: Make) -> None:
    by_slice = QualityBySlice()
    many = {f"{n:03}": quality_of(1, 0) for n in range(MOST_KNOWN + 20)}
    by_slice.add([make(1, many), make(2, {"007": quality_of(50, 9), "319": quality_of(1, 0)})])
    by_slice.add([make(3, {}, labels={"buy": quality_of(30, 2)})])
    section = by_slice.section()
    assert section is not None
    assert len(section["rows"]) == MOST_SHOWN
    assert {"name": "page=007", "samples": 51}.items() <= section["rows"][7].items()
    assert section["left_out"] == MOST_KNOWN + 20 + 1 - MOST_SHOWN


def test_without_versions_there_is_no_window() -> None:
    assert QualityBySlice().section() is None
