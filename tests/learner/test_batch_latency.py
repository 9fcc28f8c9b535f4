"""How long the samples of a small batch wait for others."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from infra import spec
from learner.loop import Learner


@pytest.mark.parametrize(
    ("since", "busy", "lingers"),
    [(0.0, False, 0.05), (0.18, False, 0.02), (0.18, True, 0.02), (0.25, False, 0.0), (0.25, True, 0.05)],
)
def test_samples_wait_for_others_until_a_commit_would_take_them(since: float, busy: bool, lingers: float) -> None:
    settings = spec.Learner.model_validate({"commit_interval": "200ms", "batch_latency": "50ms"})
    clock, committer = SimpleNamespace(monotonic=lambda: 100.0), SimpleNamespace(busy=busy)
    learner: Any = SimpleNamespace(_settings=settings, _committer=committer, _captured=100.0 - since, _clock=clock)
    assert Learner._linger(learner) == pytest.approx(lingers)
