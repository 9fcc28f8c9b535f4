"""Holds the headline figure to its definition, by brute force over random histories; knows only the tracker."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.behind import SETTLE_MS, BehindTracker
from dashboard.measurement import Behind, Feedback

SKEW_MS = 1_000
PARTITIONS = 2


@dataclass
class Reference:
    """The definition itself: everything that ever happened, and a search through all of it."""

    feedback: list[Feedback] = field(default_factory=list)
    samples: dict[str, tuple[int, int]] = field(default_factory=dict)
    late: set[tuple[str, int]] = field(default_factory=set)
    dead: set[tuple[int, int]] = field(default_factory=set)
    versions: list[tuple[int, dict[int, int]]] = field(default_factory=list)

    def learned(self, key: str) -> bool:
        """Whether the newest version holds the key's positive sample."""
        sample = self.samples.get(key)
        return sample is not None and bool(self.versions) and sample[1] < self.versions[-1][1].get(sample[0], 0)

    def behind_ms(self, version: int, now_ms: int) -> int:
        positions = next((p for v, p in reversed(self.versions) if v <= version), {})
        missing = []
        for record in self.feedback:
            ended = (record.key, record.event_ms) in self.late or record.place in self.dead
            sample = self.samples.get(record.key)
            learned = sample is not None and sample[1] < positions.get(sample[0], 0)
            if not ended and not learned:
                missing.append(record.received_ms)
        return now_ms - min(missing) if missing else 0


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[object, ...]]:
    """Steps in the order in which the page happens to see them; time moves on with each."""
    steps: list[tuple[object, ...]] = []
    for _ in range(draw(st.integers(0, 60))):
        kind = draw(st.sampled_from(["feedback", "feedback", "sample", "sample", "late", "dead", "commit", "apply"]))
        key = f"k{draw(st.integers(0, 7))}"
        steps.append((kind, key, draw(st.integers(0, 5)), draw(st.integers(0, 1)), draw(st.integers(0, 400))))
    return steps


@settings(max_examples=150, deadline=None)
@given(histories())
def test_behind_is_what_the_definition_says(steps: list[tuple[object, ...]]) -> None:
    tracker, reference = BehindTracker(skew_ms=SKEW_MS), Reference()
    now, offsets, next_sample = 1_000_000, 0, dict.fromkeys(range(PARTITIONS), 0)
    applied = {"a": 0, "b": 0}
    tracker.applied("a", 0)
    tracker.applied("b", 0)
    for kind, key, number, which, passed in steps:
        assert isinstance(key, str) and isinstance(number, int) and isinstance(which, int) and isinstance(passed, int)
        now += passed
        if kind == "feedback":
            record = Feedback(key, number, now, (0, offsets))
            offsets += 1
            tracker.feedback(record)
            reference.feedback.append(record)
        elif kind == "sample":
            partition = sum(key.encode()) % PARTITIONS
            tracker.sample(key, partition, next_sample[partition])
            reference.samples.setdefault(key, (partition, next_sample[partition]))
            next_sample[partition] += 1
        elif kind == "late":
            if reference.learned(key):
                continue  # read after the version that holds the key's sample: stated as too late to matter
            tracker.late(key, number)
            reference.late.add((key, number))
        elif kind == "dead":
            # A dead letter's record has no key of its own: nothing else can end it.
            record = Feedback("", now, now, (1, offsets))
            offsets += 1
            reference.feedback.append(record)
            reference.dead.add(record.place)
            if which:
                tracker.dead(*record.place)
                tracker.feedback(record)
            else:
                tracker.feedback(record)
                assert tracker.measure(now).committed.oldest_received_ms is not None
                tracker.dead(*record.place)
        elif kind == "commit":
            before = reference.versions[-1][1] if reference.versions else {}
            positions = {
                p: max(before.get(p, 0), end - number if p == which else end) for p, end in next_sample.items()
            }
            version = len(reference.versions) + 1
            tracker.version(version, positions)
            reference.versions.append((version, positions))
        else:
            replica = "ab"[which]
            applied[replica] = max(0, len(reference.versions) - number % 3)
            tracker.applied(replica, applied[replica])
        measured = tracker.measure(now)
        for replica, version in applied.items():
            assert measured.replicas[replica].ms(now) == reference.behind_ms(version, now), (kind, replica)
        assert measured.committed.ms(now) == reference.behind_ms(len(reference.versions), now)


def click(key: str, received_ms: int, offset: int) -> Feedback:
    return Feedback(key, received_ms - 10, received_ms, (0, offset))


def test_each_stage_is_named_in_turn() -> None:
    tracker = BehindTracker(skew_ms=SKEW_MS)
    tracker.version(1, {0: 0})
    tracker.applied("replica-0", 1)
    assert tracker.measure(5).replicas["replica-0"] == Behind()
    tracker.feedback(click("k", 1_000, 0))
    assert tracker.measure(1_500).replicas["replica-0"] == Behind(1_000, "join")
    tracker.sample("k", 0, 0)
    assert tracker.measure(1_500).replicas["replica-0"] == Behind(1_000, "learner")
    tracker.version(2, {0: 1})
    measured = tracker.measure(1_500)
    assert measured.replicas["replica-0"] == Behind(1_000, "replica")
    assert measured.committed == Behind()
    tracker.applied("replica-0", 2)
    assert tracker.measure(1_500).replicas["replica-0"] == Behind()


def test_a_dead_join_makes_every_replica_fall_behind() -> None:
    tracker = BehindTracker(skew_ms=SKEW_MS)
    tracker.version(1, {0: 0})
    tracker.applied("replica-0", 1)
    tracker.feedback(click("k", 1_000, 0))
    tracker.watermark(900, 1_000)
    for now in range(2_000, 3_600_000, 300_000):
        assert tracker.measure(now).replicas["replica-0"].ms(now) == now - 1_000
        assert not tracker.measure(now).idle


def test_a_repeat_that_the_join_drops_in_silence_ends_with_its_watermark() -> None:
    """The first click came before the page began to read, so nothing will ever be said of the second."""
    tracker = BehindTracker(skew_ms=SKEW_MS)
    tracker.feedback(click("k", 10_000, 0))
    tracker.watermark(9_990 + SKEW_MS, 12_000)
    tracker.watermark(9_990 + SKEW_MS, 12_000 + SETTLE_MS)
    assert tracker.measure(17_000).waiting_for_join == 1
    tracker.watermark(9_991 + SKEW_MS, 20_000)
    assert tracker.measure(20_000 + SETTLE_MS - 1).waiting_for_join == 1
    tracker.watermark(9_999 + SKEW_MS, 20_000 + SETTLE_MS)
    assert tracker.measure(20_000 + SETTLE_MS).waiting_for_join == 0


def test_a_replica_that_steps_back_shows_what_it_no_longer_knows() -> None:
    tracker = BehindTracker(skew_ms=SKEW_MS)
    tracker.version(1, {0: 0})
    for number in range(2, 6):
        tracker.feedback(click(f"k{number}", number * 1_000, number))
        tracker.sample(f"k{number}", 0, number)
        tracker.version(number, {0: number + 1})
    tracker.applied("replica-0", 5)
    assert tracker.measure(9_000).replicas["replica-0"] == Behind()
    tracker.applied("replica-0", 3)
    assert tracker.measure(9_000).replicas["replica-0"] == Behind(4_000, "replica")
    tracker.forget("replica-0")
    assert tracker.measure(9_000).replicas == {}


def test_silence_is_idle_only_when_nothing_is_pending() -> None:
    tracker = BehindTracker(skew_ms=SKEW_MS, idle_after_ms=30_000)
    assert tracker.measure(0).idle
    tracker.feedback(click("k", 1_000, 0))
    tracker.sample("k", 0, 0)
    assert not tracker.measure(100_000).idle
    tracker.version(1, {0: 1})
    assert not tracker.measure(30_999).idle
    assert tracker.measure(31_000).idle


@given(st.integers(1, 50), st.integers(0, 2_000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_memory_is_bounded_and_the_oldest_stays(capacity: int, records: int, one_key: bool) -> None:
    tracker = BehindTracker(skew_ms=SKEW_MS, capacity=capacity)
    for number in range(records):
        tracker.feedback(Feedback("k" if one_key else f"k{number}", number, 1_000 + number, (0, number)))
        tracker.sample(f"s{number}", 0, number)
        tracker.late(f"l{number}", number)
        tracker.dead(1, number)
    measured = tracker.measure(1_000 + records)
    assert measured.waiting_for_join + measured.waiting_for_learner <= capacity
    assert measured.committed.ms(1_000 + records) == records
    assert all(len(memory) <= capacity for memory in (tracker._positive, tracker._ended_late, tracker._ended_dead))


def test_all_keys_are_followed_again_once_there_is_room() -> None:
    tracker = BehindTracker(skew_ms=SKEW_MS, capacity=32)
    for number in range(200):
        tracker.feedback(click(f"k{number}", 1_000 + number, number))
    assert tracker.measure(2_000).followed_share < 1
    for number in range(200):
        tracker.sample(f"k{number}", 0, number)
    tracker.version(1, {0: 200})
    for _ in range(12):
        measured = tracker.measure(2_000)
    assert measured.followed_share == 1
    assert measured.committed == Behind()
