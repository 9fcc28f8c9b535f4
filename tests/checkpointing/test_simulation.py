"""No schedule of crashes, stalls and a lying network breaks the protocol; without any one of its rules, one does."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from unittest.mock import patch

import pytest

from tests.checkpointing.simulation.batch import check
from tests.checkpointing.simulation.determinism import deterministic
from tests.checkpointing.simulation.healing import shrunk, simulate, violates
from tests.checkpointing.simulation.mutations import RULES
from tests.checkpointing.simulation.weather import Weather
from tests.checkpointing.simulation.witness import Truth, Violation
from tests.long_run import record

SCHEDULES = 2_000
ALL_SCHEDULES = 100_000
# Where a rule that is missing shows soon; others follow if the code has moved on.
FIRST = {"boundary": 212, "attempt in key": 581, "lease": 2, "grace": 5, "the boundary is a log": 13}
FIRST |= {"a revert looks at the boundary": 28, "read-back": 8, "tombstone in merge": 1}
MOST = 300
# A follower that had nothing and had stood still waited a quarter of the grace time longer for a number long gone.
ONCE_VIOLATED = (26330, 26466)


def test_schedules() -> None:
    check(0, SCHEDULES)


@pytest.mark.parametrize("seed", ONCE_VIOLATED)
def test_what_was_once_found_stays_mended(seed: int) -> None:
    check(seed, 1)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("block", range(10))
def test_all_schedules(block: int) -> None:
    size = ALL_SCHEDULES // 10
    check(SCHEDULES + block * size, size)
    record("simulated_schedules", SCHEDULES + block * size, size)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_needed(rule: str) -> None:
    without, scene = RULES[rule]
    first = FIRST.get(rule, 0)
    for seed in range(first, first + MOST):
        with deterministic(), without():
            if violates(scene(seed)):
                return
    raise AssertionError(f"nothing breaks without the rule `{rule}`")


@pytest.mark.parametrize("rule", RULES)
def test_with_all_rules_the_same_weather_does_no_harm(rule: str) -> None:
    _, scene = RULES[rule]
    first = FIRST.get(rule, 0)
    for seed in range(first, first + 5):
        with deterministic():
            simulate(scene(seed))


def test_where_claims_fail_the_attempt_keeps_a_zombie_off_committed_files() -> None:
    """In a version's key it is a second barrier: only the owner of a version uploads for the next one."""

    def overwritten(seed: int, *without: Callable[[], AbstractContextManager[None]]) -> bool:
        with ExitStack() as stack:
            stack.enter_context(deterministic())
            stack.enter_context(patch.object(Truth, "_unnamed_overwritten", lambda *_: None))
            for mutation in without:
                stack.enter_context(mutation())
            try:
                simulate(RULES["claim"][1](seed))
            except Violation as violation:
                return "was overwritten, and ['manifests/" in str(violation)
        return False

    claim, attempt = RULES["claim"][0], RULES["attempt in key"][0]
    assert any(overwritten(seed, claim, attempt) for seed in range(20))
    assert not any(overwritten(seed, *one) for seed in range(20) for one in ((claim,), (attempt,)))


def test_a_seed_is_a_run() -> None:
    """The same seed ends in the same bytes under the same names."""

    def objects(seed: int) -> dict[str, bytes]:
        with deterministic():
            world = simulate(Weather.of(seed))
        return {key: data for key, (data, _) in world.store.objects.items()}

    for seed in (3, 18):
        assert objects(seed) == objects(seed)


def test_a_violation_shrinks() -> None:
    without, _ = RULES["tombstone in merge"]
    with deterministic(), without():
        stormy = next(weather for weather in map(Weather.of, range(100)) if weather.crash > 0 and violates(weather))
        calmest = shrunk(stormy, most=40)
        assert violates(calmest)
    assert (calmest.crash, calmest.stall, calmest.failed) == (0, 0, 0) and calmest.seconds <= stormy.seconds
