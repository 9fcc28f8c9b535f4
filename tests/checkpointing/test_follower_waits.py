"""A follower loses no switch to a failing request, reads nothing twice while it waits, and obeys what it can read."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from checkpointing import follower as following
from checkpointing import paths
from checkpointing.content import ServingContent
from checkpointing.control import ControlLog
from checkpointing.follower import Follower
from checkpointing.manifest import Gate
from checkpointing.writer import Writer
from infra.errors import Corrupt, Invalid, Unavailable
from infra.object_store import ObjectStore
from tests.checkpointing.faulty_store import Fault, FaultyStore
from tests.checkpointing.reference import Reference, content
from tests.checkpointing.stepping_clock import SteppingClock

MODEL = "model"
REFUSED = Gate(servable=False, reasons=("calibration",))


def served(follower: Follower, replica: Reference, clock: SteppingClock, polls: int = 3) -> list[ServingContent]:
    """The switches of some polls, two seconds apart, applied."""
    switches = []
    for _ in range(polls):
        clock.seconds += 2
        try:
            switch = follower.poll().switch
        except Unavailable:
            continue
        if switch is not None:
            replica.apply(switch)
            switches.append(switch)
    return switches


def test_no_failing_request_loses_a_switch(memory: ObjectStore, writer: Writer, clock: SteppingClock) -> None:
    """A cold start with refused versions after the servable one, each of its requests failing once."""
    steps = [content({1: 1}, offset=1), content({2: 2}, offset=2), content({3: 3}, offset=3, gate=REFUSED)]
    for step in steps:
        writer.commit(step)
    counting = FaultyStore(memory)
    Follower(counting, MODEL, clock).poll()
    requests = counting.counts.total()
    assert requests > 8
    for failing in range(requests):
        replica = Reference()
        faults: list[Fault] = ["none"] * failing
        faulty = FaultyStore(memory, iter([*faults, "before"]))
        assert served(Follower(faulty, MODEL, clock), replica, clock), f"request {failing}"
        Reference.of(steps[:2]).assert_serves(replica)


def test_what_follows_a_switch_may_be_wrong(memory: ObjectStore, writer: Writer, clock: SteppingClock) -> None:
    steps = [content({1: 1}, offset=1), content({2: 2}, offset=2, gate=REFUSED), content({3: 3}, offset=3)]
    writer.commit(steps[0])
    writer.commit(steps[1])
    writer.heartbeat()
    follower, replica = Follower(memory, MODEL, clock), Reference()
    ControlLog(memory, MODEL).append("pin", who="ann", why="", clock=clock, version=2)
    assert served(follower, replica, clock)
    ControlLog(memory, MODEL).append("unpin", who="ann", why="", clock=clock)
    key = paths.manifest_key(3)
    good = memory.get(key)
    memory.put(key, good[:-1])
    fresh = Follower(memory, MODEL, clock)
    assert isinstance(fresh.poll().problem, Corrupt)  # told, not raised
    served(follower, replica, clock)
    memory.put(key, good)
    writer.commit(steps[2])
    served(follower, replica, clock)
    Reference.of(steps).assert_serves(replica)
    assert follower.problem is None


def test_a_wrong_boundary_is_told_and_not_raised(memory: ObjectStore, writer: Writer, clock: SteppingClock) -> None:
    writer.commit(content({1: 1}, offset=1))
    follower = Follower(memory, MODEL, clock)
    assert follower.poll().switch is not None
    memory.delete(writer.commit(content({1: 2}, offset=2)).files[0].key)
    memory.put(paths.boundary_key(1), b"{")
    update = follower.poll()
    assert update.switch is None and isinstance(update.problem, Corrupt) and follower.version == 2


@pytest.mark.parametrize("begins_refused", [False, True])
def test_a_long_wait_costs_one_get_a_poll(
    memory: ObjectStore, writer: Writer, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch, begins_refused: bool
) -> None:
    monkeypatch.setattr(following, "MOST_AHEAD", 4)
    steps = [content({1: 1}, offset=1, gate=REFUSED if begins_refused else Gate(servable=True))]
    writer.commit(steps[0])
    faulty = FaultyStore(memory)
    follower, replica = Follower(faulty, MODEL, clock), Reference()
    served(follower, replica, clock)
    for offset in range(2, 20):
        steps.append(content({offset: 1}, offset=offset, gate=REFUSED))
        writer.commit(steps[-1])
        faulty.counts.clear()
        served(follower, replica, clock, polls=1)
        # The manifest, its absent successor, the absent decision; with nothing to answer from, the boundary's, too.
        assert faulty.counts == {"get": 4 if begins_refused else 3}
    steps.append(content({99: 1}, offset=99))
    writer.commit(steps[-1])
    assert [switch.full for switch in served(follower, replica, clock)] == [True]
    Reference.of(steps).assert_serves(replica)
    steps.append(content({99: 2}, gone=[1], offset=100))
    writer.commit(steps[-1])
    assert [switch.full for switch in served(follower, replica, clock)] == [False]
    Reference.of(steps).assert_serves(replica)


@pytest.mark.parametrize("most", [2, 1024])
@pytest.mark.parametrize("first", [Gate(servable=True), REFUSED])
def test_a_promoted_version_answers_however_long_ago_it_was_read(
    memory: ObjectStore, writer: Writer, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch, first: Gate, most: int
) -> None:
    monkeypatch.setattr(following, "MOST_AHEAD", most)
    steps = [content({1: 1}, offset=1, gate=first)]
    writer.commit(steps[0])
    follower, replica = Follower(memory, MODEL, clock), Reference()
    served(follower, replica, clock)
    for offset in range(2, 9):
        steps.append(content({offset: 1}, offset=offset, gate=REFUSED))
        writer.commit(steps[-1])
        served(follower, replica, clock, polls=1)
    ControlLog(memory, MODEL).append("promote", who="ann", why="", clock=clock, version=4)
    assert [switch.version for switch in served(follower, replica, clock)] == [4]
    Reference.of(steps[:3]).assert_serves(replica)


def test_a_replica_without_a_version_obeys_promote(memory: ObjectStore, writer: Writer, clock: SteppingClock) -> None:
    writer.commit(content({1: 1}, offset=1, gate=REFUSED))
    follower = Follower(memory, MODEL, clock)
    assert follower.poll().switch is None
    ControlLog(memory, MODEL).append("promote", who="ann", why="", clock=clock, version=2)
    clock.seconds += 1
    switch = follower.poll().switch
    assert switch is not None and switch.version == 2


@pytest.mark.parametrize("wrong", [b"{}", b'{"format":9,"anything":"else"}'])
def test_a_wrong_decision_stops_no_replica(
    memory: ObjectStore, writer: Writer, clock: SteppingClock, wrong: bytes
) -> None:
    steps = [content({1: 1}, offset=1), content({2: 2}, offset=2)]
    writer.commit(steps[0])
    control = ControlLog(memory, MODEL)
    control.append("pin", who="ann", why="", clock=clock, version=2)
    control.append("unpin", who="ann", why="", clock=clock)
    faulty = FaultyStore(memory)
    follower, replica = Follower(faulty, MODEL, clock), Reference()
    assert served(follower, replica, clock)
    memory.put(paths.decision_key(3), wrong)
    writer.commit(steps[1])
    clock.seconds += 1
    update = follower.poll()
    assert update.switch is not None and isinstance(update.problem, Corrupt | Invalid)
    replica.apply(update.switch)
    Reference.of(steps).assert_serves(replica)
    faulty.counts.clear()
    assert follower.poll().problem is None and faulty.counts == {"get": 1}  # told once, looked at twice a second
    assert follower.problem is not None
    fresh = Follower(memory, MODEL, clock).poll()
    assert fresh.switch is not None and fresh.switch.version == 3 and fresh.problem is not None
    memory.delete(paths.decision_key(3))
    control.append("pin", who="ann", why="", clock=clock, version=2)
    clock.seconds += 1
    switch = follower.poll().switch
    assert switch is not None and switch.version == 2 and follower.problem is None
