"""What the page says in words: verdict and event strip; the waterfall's sums; events read as the join reads them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.counts import SecondCounts
from dashboard.feed import event_time_ms, read_event
from dashboard.stages import STAGES, StageWindow, Timeline
from dashboard.strip import STEADY_TICKS, Watcher
from dashboard.targets import MISSES, Answer, Target
from dashboard.verdict import Facts, judge
from infra.spec import Topic
from tests.dashboard.loop import CLOCK, Process

moments = st.integers(0, 10_000)


@given(st.tuples(moments, moments, moments, moments, moments))
def test_stages_add_up_to_the_age_whatever_the_clocks_say(
    clocks: tuple[int, int, int, int, int],
) -> None:
    timeline = Timeline.of(7, "replica-0", clocks)
    assert timeline is not None
    assert sum(timeline.stages_ms.values()) == timeline.age_ms == max(clocks) - clocks[0]
    assert all(length >= 0 for length in timeline.stages_ms.values())


def test_whiskers_are_of_the_last_minute_and_need_feedback() -> None:
    window = StageWindow()
    assert Timeline.of(1, "r", (None, None, None, 5, 6)) is None
    assert window.whiskers(0) == {}
    for number in range(100):
        timeline = Timeline.of(number, "r", (0, number, number, number, number + 1_000))
        assert timeline is not None
        window.add(timeline)
    assert window.whiskers(60_000)["event_to_sample"] == (49, 98)
    assert window.whiskers(60_000)[STAGES[3]] == (1_000, 1_000)
    assert window.whiskers(61_100) == {}


HELD = Facts(True, 0, 10_000, True, held=["clicks"], feedback_topic="clicks", quiet_ms=250_000)


@pytest.mark.parametrize(
    ("facts", "kind", "said"),
    [
        (Facts(True, 900, 10_000, False), "ok", ""),
        (Facts(True, 10_001, 10_000, False), "bad", ""),
        (Facts(True, 0, 10_000, True), "idle", "No feedback"),
        (Facts(True, 0, 10_000, True, down=["learner"]), "warn", "learner does not answer"),
        (Facts(True, 0, 10_000, False, silent_ms=42_000), "warn", "No version for 42 s"),
        (Facts(True, 0, 10_000, False, job_state="FAILED"), "warn", "FAILED"),
        (Facts(True, 0, 10_000, False, refused="log loss"), "warn", "log loss"),
        (Facts(True, 0, 10_000, False, decided=["Learning waits: Ada"]), "warn", "Learning waits: Ada."),
        (HELD, "warn", "No feedback on `clicks` for 4 min: negatives are held; see docs/runbooks/"),
        (dataclasses.replace(HELD, held=["buys"]), "warn", "No feedback on `buys`: negatives are held"),
        (dataclasses.replace(HELD, held=["buys", "clicks"]), "warn", "on `buys` and `clicks`: negatives are held"),
        (Facts(True, 0, 10_000, False, replicas=2, replicas_up=0), "bad", ""),
        (Facts(False, None, 10_000, True, waiting="No version yet."), "starting", "No version yet."),
        (Facts(True, 900, 10_000, False, unreadable="kafka: gone"), "unknown", "kafka: gone"),
        (Facts(False, None, 10_000, False, unreadable="kafka: gone"), "starting", "kafka: gone"),
        (Facts(True, 90_000, 10_000, False, down=["join"]), "bad", "join does not answer"),
    ],
)
def test_the_worst_that_is_true_is_said(facts: Facts, kind: str, said: str) -> None:
    verdict = judge(facts)
    assert verdict.kind == kind and said in verdict.why


def test_the_strip_tells_a_lost_process_from_one_that_was_never_there() -> None:
    watcher = Watcher(0, 10_000)
    learner = Answer("learner", "http://l", up=False, since_ms=0)
    assert watcher.processes([learner], 1_000) == []
    assert watcher.processes([Answer("learner", "http://l", True, 2_000)], 2_000) == []
    assert watcher.processes([Answer("learner", "http://l", False, 9_000)], 9_500) == [
        ("down", "learner does not answer")
    ]
    back = watcher.processes([Answer("learner", "http://l", True, 15_000)], 15_000)
    assert back == [("up", "learner answers again after 6 s")]
    late = Answer("replica", "http://r", True, 60_000, {"name": "replica-7"})
    assert watcher.processes([late], 60_000) == [("up", "replica-7 answers")]


def test_the_strip_waits_until_a_replica_is_steadily_over_the_objective() -> None:
    watcher = Watcher(0, 10_000)
    said = [event for _ in range(STEADY_TICKS + 2) for event in watcher.behind({"replica-0": 10_001})]
    assert said == [("behind", "replica-0 behind more than 10 s")]
    assert watcher.behind({"replica-0": 9}) == [("up", "replica-0 caught up after 5 s over the objective")]
    assert watcher.behind({"replica-0": 11_000}) == watcher.behind({"replica-0": 1}) == []
    assert watcher.troubles({"kafka": "gone"}) == [("down", "cannot read kafka: gone")]
    assert watcher.troubles({"kafka": "still gone"}) == []
    assert watcher.troubles({}) == [("up", "kafka can be read again")]


def test_a_target_is_down_after_two_misses_and_keeps_what_it_said() -> None:
    process = Process("replica", {"name": "replica-0", "version": 4})
    target = Target("replica", process.url, CLOCK)
    first = target.poll()
    assert first.up and first.name == "replica-0" and first.why == ""
    process.stop()
    answers = [target.poll() for _ in range(MISSES)]
    assert [answer.up for answer in answers] == [True] * (MISSES - 1) + [False]
    assert answers[-1].status["version"] == 4 and answers[-1].why
    process.start()
    assert target.poll().up
    target.close()
    process.stop()


@pytest.mark.parametrize("url", ["http://[", "http://127.0.0.1:x", "ftp://127.0.0.1", "replica-0:8080", ""])
def test_an_address_that_is_none_is_an_answer_that_says_so(url: str) -> None:
    assert Target("replica", url, CLOCK).poll().why


def test_a_kept_connection_that_has_ended_is_no_miss() -> None:
    """A process that starts again between two questions answers the second one."""
    process = Process("replica", {"name": "replica-0", "version": 4})
    target = Target("replica", process.url, CLOCK)
    assert target.poll().up
    process.stop()
    process.start()
    answer = target.poll()
    assert answer.up and answer.why == ""
    target.close()
    process.stop()


@pytest.mark.parametrize(
    ("value", "unit", "wanted"),
    [
        ("2026-01-02T03:04:05.678Z", "iso8601", 1_767_323_045_678),
        ("2026-01-02T03:04:05.678999Z", "iso8601", 1_767_323_045_678),
        ("2026-01-02 03:04:05", "iso8601", 1_767_323_045_000),
        ("2026-01-02T04:04:05+01:00", "iso8601", 1_767_323_045_000),
        (1_767_323_045, "s", 1_767_323_045_000),
        (1_767_323_045.678, "s", 1_767_323_045_678),
        (1_767_323_045_678, "ms", 1_767_323_045_678),
        (1_767_323_045_678_999, "us", 1_767_323_045_678),
        ("yesterday", "iso8601", None),
        (True, "ms", None),
        ("17", "ms", None),
        (None, "iso8601", None),
    ],
)
def test_event_times_are_read_in_their_unit(value: object, unit: str, wanted: int | None) -> None:
    assert event_time_ms(value, unit) == wanted


@given(st.binary(max_size=60) | st.none())
def test_any_bytes_are_an_event_or_none(value: bytes | None) -> None:
    key, event_ms = read_event(value, Topic(topic="t", key="id", time="ts"))
    assert isinstance(key, str) and (event_ms is None or key != "")


def test_keys_are_read_as_the_join_names_them() -> None:
    topic = Topic(topic="t", key="id", time="ts", time_unit="ms")
    assert read_event(orjson.dumps({"id": "a", "ts": 7}), topic) == ("a", 7)
    assert read_event(orjson.dumps({"id": 12, "ts": 7}), topic) == ("12", 7)
    assert read_event(orjson.dumps({"id": None, "ts": 7}), topic) == ("", None)
    assert read_event(orjson.dumps([1]), topic) == ("", None)


def test_counts_are_of_the_last_minute_and_the_last_full_second() -> None:
    counts = SecondCounts()
    for second in range(100):
        counts.add("click", second * 1000 + 999)
        counts.add("samples", second * 1000, 3)
    assert counts.minute(99_500)["click"] == 60
    assert counts.per_second("samples", 99_500) == 3 and counts.per_second("samples", 200_000) == 0
    assert counts.minute(500_000)["click"] == 0
