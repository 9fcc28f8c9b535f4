"""Files of every format that were written once must be readable for ever."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from checkpointing.base import base_versions, read_base
from checkpointing.control import ControlLog
from checkpointing.follower import Follower
from checkpointing.history import manifests
from checkpointing.restore import restore
from infra.object_store import ObjectStore, open_store
from infra.spec import Store
from tests.checkpointing.golden import expected
from tests.checkpointing.reference import Reference, by_key
from tests.checkpointing.stepping_clock import SteppingClock

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(params=[1, 2])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """A copy, since a reader leaves a lease beside what it reads."""
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN / f"format-{request.param}", folder)
    return open_store(Store(url=folder.as_uri()))


@pytest.fixture
def store_2(tmp_path: Path) -> ObjectStore:
    shutil.copytree(GOLDEN / "format-2", tmp_path / "golden")
    return open_store(Store(url=(tmp_path / "golden").as_uri()))


def test_the_manifests(store: ObjectStore) -> None:
    line = list(manifests(store, "golden", 1, 4))
    assert [m.kind for m in line] == ["claim", "delta", "heartbeat", "delta"]
    assert [m.gate.servable for m in line] == [False, True, False, False]
    assert [len(m.files) for m in line] == [0, 1, 0, 1]
    assert line[1].batches == (((0, 0, 2),), ((0, 2, 3),))
    assert line[1].metrics == {"1700000000000": {"samples": 3, "log_loss_sum": 0.75}}
    assert line[1].probes[0].trained_ts == 3


def test_a_learner_restores(store: ObjectStore) -> None:
    state = restore(store, "golden", 4)
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


def test_a_replica_follows_format_1(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "format-1", tmp_path / "golden")
    update = Follower(open_store(Store(url=(tmp_path / "golden").as_uri())), "golden", SteppingClock()).poll()
    assert update.switch is not None and update.problem is None
    assert update.switch.version == 2 and update.switch.graph_bytes == expected.GRAPH
    served = {rows.table: by_key(rows) for rows in update.switch.tables}
    assert {key: row[0] for key, row in served["item"].items()} == {1: (1, 2), -1: (3, 4), 2**63 - 1: (5, 6)}
    assert {key: row[0] for key, row in served["user"].items()} == {42: (0.5,)}


def test_format_2_holds_small_rows_filters_a_base_and_a_decision(store_2: ObjectStore) -> None:
    state = restore(store_2, "golden")
    assert state.version == 6 and list(state.filters) == ["item/0"]
    np.testing.assert_array_equal(state.filters["item/0"], expected.FILTER + np.uint8(1))
    update = Follower(store_2, "golden", SteppingClock()).poll()
    assert update.switch is not None and update.problem is None and update.switch.graph_bytes == expected.GRAPH
    served = by_key(next(rows for rows in update.switch.tables if rows.table == "item"))
    restored = by_key(state.tables["item"])
    for number, precision in enumerate(expected.PRECISIONS):
        for at, key in enumerate((500 + number, 600 + number)):
            assert served[key][0] == tuple(expected.SERVED[precision][at])
            np.testing.assert_array_equal(restored[key][0], np.array(expected.SMALL[at], np.float32))
    base = read_base(store_2, "golden", 2)
    assert base is not None and len(base.parts) > 1 and base_versions(store_2) == [2]
    Reference.of([expected.first(state.graph)]).assert_is(restore(store_2, "golden", 2))  # type: ignore[arg-type]
    (decision,) = ControlLog(store_2, "golden").poll()
    assert (decision.kind, decision.version, decision.who) == ("promote", 4, "golden")
