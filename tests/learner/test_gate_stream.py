"""What the gate makes of a stream: broken ones are refused, healthy ones never, people and restarts are heard."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from checkpointing.manifest import Gate
from infra import spec
from learner.gate import QualityGate
from learner.gate_stream import Stream
from learner.witness import Evidence, Seen

WINDOW_MS = 20_000
BUCKET_MS = 5_000
AHEAD_MS = 30_000
NOTHING = np.empty((0, 1), np.float32)
COLUMNS = ("user", "item")
DENSE = {"bias": np.zeros(1, np.float32)}


@dataclass
class Traffic:
    """A stream of verdicts in event time; every step is a second of it and one version.

    Args:
        rate: Impressions a second.
        clicks: Share of them that is clicked, after four seconds on average.
    """

    gate: QualityGate
    rate: float = 100.0
    clicks: float = 0.1
    now_ms: int = 1_000_000_000
    seed: int = 0
    # Per second of the past: impressions shown, and clicked.
    shown: list[tuple[int, int]] = field(default_factory=list)
    version: int = 0
    # Negatives that event time has passed, by when they were shown: what was not given out yet.
    due: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        # When the clicks of earlier seconds come.
        self.coming: dict[int, list[int]] = {}

    def step(
        self,
        *,
        label: float | None = None,
        lost: Sequence[str] = (),
        promoted: Sequence[int] = (),
        held_up: bool = False,
    ) -> Gate:
        """One second; ``label`` overwrites every label, columns ``lost`` are gone, verdicts may be held up."""
        second = self.now_ms // 1000
        count = int(self.random.poisson(self.rate))
        clicked = int(self.random.binomial(count, self.clicks)) if count else 0
        self.shown.append((count, clicked))
        for delay in self.random.exponential(4, clicked):
            self.coming.setdefault(second + min(int(delay), 19), []).append(second)
        buckets: dict[int, tuple[int, int]] = {}
        positives = self.coming.pop(second, [])
        past = len(self.shown) - 1 - WINDOW_MS // 1000
        if self.gate.stream.mode == "aligned":
            positives = [second - WINDOW_MS // 1000] * (self.shown[past][1] if past >= 0 else 0)
        self.due.append((self.now_ms - WINDOW_MS, self.shown[past][0] - self.shown[past][1] if past >= 0 else 0))
        for shown in positives:
            self._add(buckets, shown * 1000, 1, 1)
        given, self.due = ([], self.due) if held_up else (self.due, [])
        for shown, count in given:
            self._add(buckets, shown, count, 0)
        negatives = sum(count for _, count in given)
        total, ones = len(positives) + negatives, float(len(positives))
        aligned = self.gate.stream.mode == "aligned"
        verdicts, positive = (total, ones) if aligned else (negatives, 0.0)
        if label is not None:
            positive = label * verdicts
            buckets = {start: (samples, int(label * samples)) for start, (samples, _) in buckets.items()}
        present = np.array([0.0 if name in lost else float(total) for name in COLUMNS])
        seen = Seen(float(total), np.array([float(verdicts)]), np.array([float(positive)]), present)
        known_ms, passed_ms = self.now_ms if total else None, self.now_ms if negatives else None
        evidence = Evidence((), seen, known_ms, passed_ms, NOTHING, NOTHING, buckets)
        self.now_ms += 1000
        self.version += 1
        verdict = self.gate.judge([], DENSE, True, evidence, promoted)
        self.gate.committed(_Committed(self.version, verdict))  # type: ignore[arg-type]
        return verdict

    def _add(self, buckets: dict[int, tuple[int, int]], at_ms: int, samples: int, positives: int) -> None:
        start = at_ms // BUCKET_MS * BUCKET_MS
        before = buckets.get(start, (0, 0))
        buckets[start] = (before[0] + samples, before[1] + positives)

    def run(self, seconds: int, **changes: Any) -> list[Gate]:
        return [self.step(**changes) for _ in range(seconds)]


@dataclass(frozen=True)
class _Committed:
    version: int
    gate: Gate


def stream(mode: Literal["after_window", "aligned", "immediate"] = "after_window", **settings: Any) -> Traffic:
    """A healthy stream of three windows behind a gate."""
    facts = Stream(("label_click",), COLUMNS, BUCKET_MS, WINDOW_MS, AHEAD_MS, mode)
    traffic = Traffic(QualityGate(spec.Gate(**settings), facts))
    assert all(verdict.servable for verdict in traffic.run(60))
    return traffic


def refused(verdicts: Sequence[Gate]) -> list[str]:
    return [reason for verdict in verdicts for reason in verdict.reasons]


def test_traffic_that_grows_ends_or_begins_again_is_healthy() -> None:
    for changes in ([3, 1], [10, 1], [0.1, 1], [0, 1], [0.02, 1, 20, 1]):
        traffic = stream()
        for factor in changes:
            traffic.rate = 100.0 * factor
            assert refused(traffic.run(50)) == []


def test_verdicts_that_are_held_up_and_then_come_in_a_clump_are_healthy() -> None:
    """As where a worker of the join was lost, or a topic read late: clicks go on, and event time does not."""
    traffic = stream()
    for seconds in (5, 40, 105):
        assert refused(traffic.run(seconds, held_up=True)) == []
        assert refused(traffic.run(50)) == []


def test_verdicts_that_come_no_more_are_missed() -> None:
    reasons = refused(stream().run(160, held_up=True))
    assert reasons and "label_click, closed buckets," in reasons[0]


def test_clicks_that_become_somewhat_more_are_healthy() -> None:
    traffic = stream()
    for clicks in (0.15, 0.2, 0.12, 0.08):
        traffic.clicks = clicks
        assert refused(traffic.run(50)) == []


def test_labels_that_are_all_one_are_refused_at_once() -> None:
    traffic = stream()
    (first, *_) = traffic.run(5, label=1.0)
    assert not first.servable and first.reasons[0].startswith("label rate: label_click is 1 for 1 of ")


def test_clicks_that_are_lost_are_refused_when_their_buckets_close() -> None:
    traffic = stream()
    traffic.clicks = 0.0
    verdicts = traffic.run(40)
    assert "closed buckets" in refused(verdicts)[0]
    at = next(second for second, verdict in enumerate(verdicts) if not verdict.servable)
    assert at <= (WINDOW_MS + 2 * BUCKET_MS) // 1000


def test_where_labels_wait_for_the_window_lost_clicks_are_refused_within_seconds() -> None:
    traffic = stream("aligned")
    # Of 100 samples 10 are clicks, and none of 100 may happen by chance; none of 400 does not.
    assert any("label rate" in reason for reason in refused(traffic.run(10, label=0.0)))


def test_a_column_that_is_gone_is_refused_and_named() -> None:
    traffic = stream()
    (first, *_) = traffic.run(5, lost=["item"])
    assert len(first.reasons) == 1 and first.reasons[0].startswith("coverage: `item` in 0 of ")


def test_few_samples_a_version_are_judged_with_those_before() -> None:
    traffic = stream()
    traffic.rate = 4.0
    assert refused(traffic.run(50)) == []
    assert any(not verdict.servable for verdict in traffic.run(20, lost=["user"]))


def test_after_so_many_refusals_it_wants_to_go_back_and_is_even_then() -> None:
    traffic = stream(revert_after=4)
    good = traffic.version
    traffic.run(3, label=1.0)
    assert traffic.gate.given_up is None
    traffic.run(1, label=1.0)
    assert traffic.gate.given_up == good
    traffic.gate.reverted()
    assert traffic.gate.given_up is None
    assert refused(traffic.run(20)) == []


def test_what_a_person_lets_pass_is_the_new_normal() -> None:
    traffic = stream()
    verdicts = traffic.run(3, lost=["item"])
    assert not any(verdict.servable for verdict in verdicts)
    assert traffic.step(lost=["item"], promoted=[traffic.version]).servable
    assert refused(traffic.run(60, lost=["item"], promoted=[traffic.version])) == []


def test_a_restart_forgets_nothing() -> None:
    traffic = stream()
    assert not traffic.step(lost=["item"]).servable
    state, settings, facts = traffic.gate.state(), traffic.gate.settings, traffic.gate.stream
    again = QualityGate(settings, facts)
    again.ended(state, servable=60)
    assert again.memory.refusals == 1 and again.memory.servable == 60
    for name, array in again.state().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)
    traffic.gate = again
    assert not traffic.step(lost=["item"]).servable and again.memory.refusals == 2
    # Of other columns it begins anew.
    other = QualityGate(settings, Stream(("label_click",), ("user",)))
    other.ended(state, servable=60)
    assert other.memory.normal.samples == 0


def test_a_check_that_is_off_refuses_nothing() -> None:
    traffic = stream(label_rate=None, coverage=None)
    assert refused(traffic.run(5, label=1.0, lost=["item"])) == []
