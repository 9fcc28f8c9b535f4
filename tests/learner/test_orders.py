"""What the loop is told of the decisions, and that it waits where those that its state follows are not all there."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from checkpointing import paths
from checkpointing.control import ControlLog, RowKey
from infra import spec
from infra.clock import SystemClock
from infra.object_store import ObjectStore, open_store
from learner.decisions import DecisionWatch, Orders
from tests.learner.stream import until

CLOCK = SystemClock()
FORGOTTEN = RowKey(table="user", key=7)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """With a pause that has ended, and a key to be forgotten."""
    store = open_store(spec.Store(url=(tmp_path / "store").as_uri()))
    log = ControlLog(store, "model")
    log.append("pause", who="ann", why="", clock=CLOCK)
    log.append("resume", who="ann", why="", clock=CLOCK)
    log.append("forget", who="ann", why="", clock=CLOCK, keys=[FORGOTTEN])
    return store


@pytest.mark.parametrize("missing", [True, False])
def test_a_state_waits_for_the_decisions_that_it_follows(store: ObjectStore, missing: bool) -> None:
    key = paths.decision_key(3)
    good = store.get(key)
    store.delete(key) if missing else store.put(key, good[:-1])
    with contextlib.closing(DecisionWatch(store, "model", CLOCK)) as watch:
        orders = Orders(watch, obeyed=3)
        assert orders.hold is not None
        until(lambda: watch.decisions is not None and watch.decisions.number == 2)
        orders.look()
        assert orders.hold is not None and "follows decision 3, and only 2 can be read" in orders.hold
        store.put(key, good)
        until(lambda: watch.decisions is not None and watch.decisions.number == 3)
        orders.look()
        assert orders.hold is None and orders.forgotten() == {"user": [7]}
