"""Files of format 1 that were written once must be readable for ever."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np

from checkpointing.follower import Follower
from checkpointing.history import manifests
from checkpointing.restore import restore
from infra.object_store import open_store
from infra.spec import Store
from tests.checkpointing.golden import expected
from tests.checkpointing.reference import Reference, by_key
from tests.checkpointing.stepping_clock import SteppingClock

STORE = open_store(Store(url=(Path(__file__).parent / "golden" / "format-1").as_uri()))


def test_the_manifests_of_format_1() -> None:
    line = list(manifests(STORE, "golden"))
    assert [m.kind for m in line] == ["claim", "delta", "heartbeat", "delta"]
    assert [m.gate.servable for m in line] == [False, True, False, False]
    assert [len(m.files) for m in line] == [0, 1, 0, 1]
    assert line[1].batches == (((0, 0, 2),), ((0, 2, 3),))
    assert line[1].metrics == {"1700000000000": {"samples": 3, "log_loss_sum": 0.75}}
    assert line[1].probes[0].trained_ts == 3


def test_a_learner_restores_format_1() -> None:
    state = restore(STORE, "golden")
    assert (state.version, state.epoch, state.positions[0].next_offset) == (4, 1, 5)
    reference = Reference.of([expected.first(state.graph), expected.second()])  # type: ignore[arg-type]
    reference.assert_is(state)
    for got, wanted in (
        (state.dense, expected.DENSE),
        (state.dense_optimizer, expected.DENSE_OPTIMIZER),
        (state.statistics, expected.STATISTICS),
        (state.sample_ids[0], expected.SAMPLE_IDS),
    ):
        assert list(got) == list(wanted)
        for name, array in wanted.items():
            assert got[name].dtype == array.dtype
            np.testing.assert_array_equal(got[name], array)


def test_a_replica_follows_format_1() -> None:
    update = Follower(STORE, "golden", SteppingClock()).poll()
    assert update.switch is not None and update.problem is None
    assert update.switch.version == 2 and update.switch.graph_bytes == expected.GRAPH
    served = {rows.table: by_key(rows) for rows in update.switch.tables}
    assert {key: row[0] for key, row in served["item"].items()} == {1: (1, 2), -1: (3, 4), 2**63 - 1: (5, 6)}
    assert {key: row[0] for key, row in served["user"].items()} == {42: (0.5,)}
