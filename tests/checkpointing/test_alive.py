"""A restore of any length keeps its claim, and one that lost it ends."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import pytest

from checkpointing.alive import KeptAlive
from checkpointing.history import manifests
from checkpointing.restore import restore
from checkpointing.writer import Writer
from infra.clock import SystemClock
from infra.errors import Fenced
from infra.object_store import ObjectStore
from infra.object_store.contract import Data
from tests.checkpointing.faulty_store import FaultyStore
from tests.checkpointing.reference import Reference, content

MODEL = "model"
EVERY_S = 0.005


def until(condition: threading.Event) -> None:
    assert condition.wait(30)


class Watched(FaultyStore):
    """Says when so many manifests were created."""

    def __init__(self, inner: ObjectStore, wanted: int) -> None:
        super().__init__(inner)
        self.wanted = wanted
        self.reached = threading.Event()

    def create(self, key: str, data: Data) -> None:
        super().create(key, data)
        if self.counts["create"] >= self.wanted:
            self.reached.set()


def test_heartbeats_go_on_while_a_block_runs(memory: ObjectStore) -> None:
    clock = SystemClock()
    store = Watched(memory, 4)
    writer = Writer.take_over(store, MODEL, "a", clock)
    writer.commit(content({1: 1}, offset=3))
    claimed = Writer.take_over(store, MODEL, "a", clock)
    with KeptAlive(claimed, clock, every_s=EVERY_S) as alive:
        until(store.reached)
        state = restore(store, MODEL, claimed.claimed.version)
        alive.check()
    line = list(manifests(memory, MODEL))
    assert [m.kind for m in line[:3]] == ["claim", "delta", "claim"] and {m.kind for m in line[3:]} == {"heartbeat"}
    assert line[-1].positions == state.positions == writer.last.positions
    Reference.of([content({1: 1})]).assert_is(state)
    claimed.commit(content({2: 2}, offset=4))  # no commit is left in flight


def test_a_lost_claim_ends_the_block(memory: ObjectStore) -> None:
    clock = SystemClock()
    writer = Writer.take_over(memory, MODEL, "a", clock)
    Writer.take_over(memory, MODEL, "b", clock, takeover=True)
    fenced = threading.Event()
    with pytest.raises(Fenced, match="`b`"), KeptAlive(writer, clock, every_s=EVERY_S) as alive:
        while True:
            alive.check()
            fenced.wait(EVERY_S)


def test_an_outage_ends_nothing(memory: ObjectStore) -> None:
    clock = SystemClock()
    store = Watched(memory, 2)
    writer = Writer.take_over(store, MODEL, "a", clock, retry_for_s=0.01)
    store.faults = iter(["before"] * 5)
    with KeptAlive(writer, clock, every_s=EVERY_S) as alive:
        until(store.reached)
        alive.check()
    assert writer.version >= 2
