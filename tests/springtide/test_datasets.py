"""The logs that the demo replays: counts as their publishers state them, time order, clear errors in a user's own."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from infra.errors import Invalid
from infra.spec import Pipeline
from springtide.datasets.event import Dataset, Event
from springtide.datasets.mind import Mind
from springtide.datasets.movielens import MovieLens
from springtide.datasets.open_bandit import OpenBandit
from springtide.datasets.own import OwnLog
from springtide.datasets.select import select_dataset

CACHE = Path(".springtide/data")
MIND = Path(__file__).resolve().parents[3] / "shared" / "data" / "mind"


def assert_log(dataset: Dataset, impressions: int, clicks: int) -> list[Event]:
    events = list(dataset.events())
    assert dataset.count() == len(events) == impressions
    assert sum(event.click_after is not None for event in events) == clicks
    assert len({event.key for event in events}) == impressions
    times = [event.time_ms for event in events]
    assert times == sorted(times)
    declared = {field["name"] for field in dataset.document()["events"]["impressions"]["fields"]}
    assert all(set(event.fields) == declared for event in events)
    return events


def test_movielens() -> None:
    assert_log(MovieLens.load(CACHE), impressions=100_000, clicks=55_375)


def test_open_bandit() -> None:
    assert_log(OpenBandit.load(CACHE), impressions=60_000, clicks=287)


@pytest.mark.long
@pytest.mark.skipif(not MIND.is_dir(), reason="the MIND log is not part of the project; its folder is absent")
def test_mind() -> None:
    events = assert_log(Mind.load(MIND), impressions=189_359, clicks=7_542)
    assert max(len(event.fields["history"]) for event in events if isinstance(event.fields["history"], list)) == 20


def test_a_log_that_is_not_shipped_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"behaviors\.tsv"):
        Mind.load(tmp_path)


def test_an_unknown_data_set_is_told_with_the_nearest() -> None:
    with pytest.raises(Invalid, match="nearest is `movielens`"):
        select_dataset("movielen", cache=CACHE, files=None, impressions=None, feedback=None)


PIPELINE = Pipeline.model_validate(
    {
        "name": "own",
        "kafka": {"bootstrap": "localhost:9092"},
        "events": {
            "impressions": {
                "topic": "shown",
                "key": "id",
                "time": "at",
                "time_unit": "s",
                "fields": [{"name": "item", "type": "string"}],
            },
            "feedback": [{"name": "click", "topic": "clicked", "key": "id", "time": "when"}],
        },
        "features": [{"kind": "id", "name": "item", "source": "item", "table": "item"}],
        "tables": [{"name": "item", "dim": 8}],
        "store": {"url": "memory://own"},
    }
)


def own(tmp_path: Path, impressions: Iterable[str], feedback: Iterable[str]) -> OwnLog:
    paths = tmp_path / "impressions.jsonl", tmp_path / "feedback.jsonl"
    for path, lines in zip(paths, (impressions, feedback), strict=True):
        path.write_text("\n".join(lines), encoding="utf-8")
    return OwnLog(PIPELINE, *paths)


def test_a_users_own_files_are_joined_by_key_and_put_in_order(tmp_path: Path) -> None:
    log = own(
        tmp_path,
        ['{"id": "b", "at": 20, "item": "y"}', "", '{"id": "a", "at": 10, "item": "x"}'],
        ['{"id": "a", "when": "1970-01-01T00:00:40Z"}', '{"id": "a", "when": "1970-01-01T00:00:13Z"}'],
    )
    first, second = assert_log(log, impressions=2, clicks=1)
    assert (first.key, first.time_ms, first.fields) == ("a", 10_000, {"item": "x"})
    assert first.click_after == pytest.approx(3_000 / PIPELINE.join.window.ms)
    assert second.click_after is None


def test_a_line_that_repeats_a_key_is_the_same_impression(tmp_path: Path) -> None:
    log = own(tmp_path, ['{"id": "a", "at": 10, "item": "x"}', '{"id": "a", "at": 11, "item": "y"}'], [])
    (event,) = assert_log(log, impressions=1, clicks=0)
    assert (event.time_ms, event.fields) == (10_000, {"item": "x"})


def test_a_users_windows_are_not_the_replays(tmp_path: Path) -> None:
    assert "join" not in own(tmp_path, [], []).document()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", r"impressions\.jsonl:1  not JSON"),
        ("[1]", r"impressions\.jsonl:1  a JSON list"),
        ('{"at": 1}', r"impressions\.jsonl:1  no `id`"),
        ('{"id": "a"}', r"impressions\.jsonl:1  `at` is None; wanted a time in unit s"),
        ('{"id": "a", "at": "soon"}', r"impressions\.jsonl:1  `at` is 'soon'"),
    ],
)
def test_a_bad_line_of_a_users_file_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        list(own(tmp_path, [line], []).events())


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"gone\.jsonl"):
        list(OwnLog(PIPELINE, tmp_path / "gone.jsonl", tmp_path / "gone.jsonl").events())
