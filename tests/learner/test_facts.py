"""What the loop counts between two captures; knows no stream."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from infra.clock import SystemClock
from learner.facts import FactsRecorder


def test_runs_are_counted_over_all_batches_and_taken_with_them() -> None:
    facts = FactsRecorder(SystemClock())
    assert (facts.batches, facts.runs) == (0, 0)
    facts.batch([(0, 0, 5), (1, 0, 7), (0, 5, 6)])
    facts.batch([(1, 7, 8)])
    assert (facts.batches, facts.runs) == (2, 4)
    taken = facts.take()
    assert sum(len(runs) for runs in taken.batches) == 4
    assert (facts.batches, facts.runs) == (0, 0)
