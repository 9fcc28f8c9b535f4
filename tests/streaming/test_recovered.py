"""From which checkpoint a join as an application goes on, by what its JobManager was started with."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from streaming.application import recovered
from streaming.checkpoint_folder import Kept

KEPT = [Kept(300, 1.0, "newest", 0), Kept(200, 9.0, "since 150", 150), Kept(200, 8.0, "before it", 150)]


@pytest.mark.parametrize(
    ("since_ms", "path"),
    [(None, "newest"), (150, "since 150"), (160, None)],
)
def test_a_job_manager_that_is_restarted_does_not_begin_anew(since_ms: int | None, path: str | None) -> None:
    assert recovered(KEPT, since_ms) == path


def test_a_plan_without_checkpoints_begins_anew() -> None:
    assert recovered([], None) is None
