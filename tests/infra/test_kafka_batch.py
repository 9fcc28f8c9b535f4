"""A batch's places by column, against a message-by-message reckoning."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infra.kafka import Batch


def batch_of(places: list[tuple[int, int]]) -> Batch:
    return Batch(
        topic="samples",
        partitions=np.array([partition for partition, _ in places], np.int32),
        offsets=np.array([offset for _, offset in places], np.int64),
        timestamps_ms=np.zeros(len(places), np.int64),
        keys=[None] * len(places),
        values=[b"x"] * len(places),
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=40))
def test_runs_and_positions_agree_with_a_message_by_message_reckoning(steps: list[tuple[int, int]]) -> None:
    # Gaps between offsets are aborted transactions or compacted messages.
    next_offset = dict.fromkeys(range(4), 0)
    places = []
    for partition, step in steps:
        next_offset[partition] += step
        places.append((partition, next_offset[partition]))
    runs: list[list[int]] = []
    positions: dict[int, int] = {}
    for partition, offset in places:
        if runs and runs[-1][0] == partition:
            runs[-1][2] = offset + 1
        else:
            runs.append([partition, offset, offset + 1])
        positions[partition] = offset + 1
    batch = batch_of(places)
    assert [list(run) for run in batch.runs()] == runs
    assert batch.next_positions() == positions
    assert len(batch) == len(places)
