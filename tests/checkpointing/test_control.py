"""Decisions are numbered, told from each other, and obeyed by a follower within a second."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from checkpointing import paths
from checkpointing.control import ControlLog
from checkpointing.follower import Follower
from checkpointing.manifest import Gate
from checkpointing.writer import Writer
from infra.errors import Corrupt, Invalid
from infra.object_store import ObjectStore
from tests.checkpointing.faulty_store import FaultyStore
from tests.checkpointing.reference import Reference, content
from tests.checkpointing.stepping_clock import SteppingClock

MODEL = "model"
REFUSED = Gate(servable=False, reasons=("calibration",))


def decide(store: ObjectStore, clock: SteppingClock, kind: str, version: int | None = None) -> None:
    ControlLog(store, MODEL).append(kind, who="ann", why="a test", clock=clock, version=version)  # type: ignore[arg-type]


def test_entries_are_numbered_and_read_once(store: ObjectStore, clock: SteppingClock) -> None:
    log, reader = ControlLog(store, MODEL), ControlLog(store, MODEL)
    assert reader.poll() == []
    first = log.append("pause", who="ann", why="a broken producer", clock=clock)
    second = log.append("pin", who="bob", why="looks wrong", clock=clock, version=7)
    assert [first.number, second.number] == [1, 2]
    assert reader.poll() == [first, second] and reader.poll() == []
    assert reader.decisions.pin == second and reader.decisions.pause == first
    third = ControlLog(store, MODEL).append("resume", who="ann", why="", clock=clock)
    assert log.poll() == [third] and log.decisions.pause is None and log.decisions.pin == second
    log.append("unpin", who="bob", why="", clock=clock)
    log.append("promote", who="bob", why="", clock=clock, version=9)
    log.append("revert-learner", who="bob", why="", clock=clock, version=3)
    reader.poll()
    assert reader.decisions == log.decisions
    assert reader.decisions.pin is None and reader.decisions.promoted == {9}
    assert reader.decisions.revert is not None and reader.decisions.revert.version == 3


def test_a_race_and_a_lost_reply_enter_each_decision_once(memory: ObjectStore, clock: SteppingClock) -> None:
    slow = ControlLog(memory, MODEL)
    slow.poll()
    decide(memory, clock, "pause")
    assert slow.append("resume", who="b", why="", clock=clock).number == 2
    # list, get of the next two, then the create whose own repeat is reported as a conflict
    twice = ControlLog(FaultyStore(memory, iter(("none", "none", "none", "none", "twice"))), MODEL)
    assert twice.append("pause", who="c", why="", clock=clock).number == 3
    assert [entry.who for entry in ControlLog(memory, MODEL).poll()] == ["ann", "b", "c"]


def test_a_decision_about_nothing_is_refused(memory: ObjectStore, clock: SteppingClock) -> None:
    with pytest.raises(ValueError, match="version is None in a pin"):
        decide(memory, clock, "pin")


def test_wrong_entries_are_told(memory: ObjectStore, clock: SteppingClock) -> None:
    decide(memory, clock, "pause")
    key = paths.decision_key(1)
    good = memory.get(key)
    memory.put(key, good.replace(b"ann", b"bob"))
    with pytest.raises(Corrupt, match="checksum"):
        ControlLog(memory, MODEL).poll()
    memory.put(key, good)
    with pytest.raises(Invalid, match="holds model `model`"):
        ControlLog(memory, "other").poll()
    memory.put(paths.decision_key(3), good)
    with pytest.raises(Corrupt, match="missing between"):
        ControlLog(memory, MODEL).poll()


def test_a_pin_leads_back_and_its_end_forward(memory: ObjectStore, clock: SteppingClock) -> None:
    writer, follower, replica = Writer.take_over(memory, MODEL, "a", clock), Follower(memory, MODEL, clock), Reference()
    steps = [content({1: 1, 2: 1}, offset=1), content({2: 2}, gone=[1], offset=2), content({3: 3}, offset=3)]
    for step in steps:
        writer.commit(step)

    def look(seconds: float = 1) -> int | None:
        clock.seconds += seconds
        update = follower.poll()
        assert update.problem is None
        if update.switch is not None:
            replica.apply(update.switch)
        return None if update.switch is None else update.switch.version

    assert look() == 4
    decide(memory, clock, "pin", 2)
    assert look() == 2 and follower.pin is not None and follower.pin.who == "ann"
    Reference.of(steps[:1]).assert_serves(replica)
    steps.append(content({2: 5}, offset=4))
    writer.commit(steps[-1])
    assert look() is None and follower.seen == 5  # learning goes on
    decide(memory, clock, "pin", 3)
    assert look() == 3
    Reference.of(steps[:2]).assert_serves(replica)
    decide(memory, clock, "unpin")
    assert look() == 5
    Reference.of(steps).assert_serves(replica)
    steps.append(content({6: 6}, offset=5))
    writer.commit(steps[-1])
    assert look() == 6
    Reference.of(steps).assert_serves(replica)


def test_of_a_kept_version_its_number_is_handed_out_and_no_pack_is_read(
    memory: ObjectStore, clock: SteppingClock
) -> None:
    counting = FaultyStore(memory)
    writer, kept = Writer.take_over(memory, MODEL, "a", clock), {2, 4}
    follower = Follower(counting, MODEL, clock, kept.__contains__)
    kept.clear()
    for offset in (1, 2, 3):
        writer.commit(content({offset: offset}, offset=offset))
        assert follower.poll().switch is not None
    kept.update((2, 4))

    def look(decision: str, version: int | None = None) -> tuple[int | None, int | None]:
        decide(memory, clock, decision, version)
        clock.seconds += 1
        update = follower.poll()
        assert update.problem is None
        return update.kept, None if update.switch is None else update.switch.version

    assert look("pin", 2) == (2, None) and follower.version == 2
    assert follower.poll().kept is None
    assert look("pin", 3) == (None, 3)
    assert look("unpin") == (4, None)
    writer.commit(content({4: 4}, offset=4))
    update = follower.poll()
    assert update.switch is not None and (update.switch.version, update.switch.full) == (5, False)


def test_a_refused_version_answers_once_promoted(memory: ObjectStore, clock: SteppingClock) -> None:
    writer, follower = Writer.take_over(memory, MODEL, "a", clock), Follower(memory, MODEL, clock)
    writer.commit(content({1: 1}, offset=1))
    assert follower.poll().switch is not None
    writer.commit(content({1: 2}, offset=2, gate=REFUSED))
    decide(memory, clock, "pin", 3)
    clock.seconds += 1
    problem = follower.poll().problem
    assert isinstance(problem, Invalid) and "calibration" in str(problem) and "promote" in problem.cure
    decide(memory, clock, "unpin")
    decide(memory, clock, "promote", 3)
    clock.seconds += 2
    switch = follower.poll().switch
    assert switch is not None and switch.version == 3 and follower.problem is None
    late = Follower(memory, MODEL, clock).poll().switch
    assert late is not None and late.version == 3


def test_a_pin_to_a_version_that_is_not_there_is_told(memory: ObjectStore, clock: SteppingClock) -> None:
    writer, follower = Writer.take_over(memory, MODEL, "a", clock), Follower(memory, MODEL, clock)
    writer.commit(content({1: 1}, offset=1))
    follower.poll()
    decide(memory, clock, "pin", 9)
    clock.seconds += 1
    assert "no version 9" in str(follower.poll().problem) and follower.version == 2
