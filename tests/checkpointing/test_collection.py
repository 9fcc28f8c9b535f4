"""What is collected is what nobody can want: by number, by age, every Nth for ever, pins and leases."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpointing import lease as leases
from checkpointing import paths
from checkpointing.base import base_versions
from checkpointing.boundary import read_boundary
from checkpointing.chain import plan
from checkpointing.collect import Collected, Collector
from checkpointing.compact import compact
from checkpointing.control import ControlLog, RowKey
from checkpointing.follower import Follower
from checkpointing.history import manifests
from checkpointing.lease import Lease, plan_held
from checkpointing.restore import restore
from checkpointing.retention import LineFacts, Retention, boundary_of, kept_for_ever
from checkpointing.writer import Writer
from infra.errors import Corrupt, Fenced, Invalid
from infra.object_store import ObjectStore
from tests.checkpointing.reference import Reference, content
from tests.checkpointing.stepping_clock import SteppingClock
from tests.checkpointing.test_compaction import line_of

MODEL = "model"
NEWEST = Retention(versions=1, age_s=0)


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """These stores are seconds old; what an hour protects is the simulation's to show."""
    monkeypatch.setattr(leases, "GRACE_S", 0.0)


def collect(
    store: ObjectStore, clock: SteppingClock, retention: Retention = NEWEST, *, dry_run: bool = False
) -> Collected:
    """A run that moves the boundary, and one a grace time later that deletes what lies below."""
    first = Collector(store, MODEL, clock, retention).run(dry_run=dry_run)
    return first if dry_run else replace(Collector(store, MODEL, clock, retention).run(), before=first.before)


def test_what_a_base_replaces_is_deleted(store: ObjectStore, clock: SteppingClock) -> None:
    writer, steps = line_of(store, clock)
    follower = Follower(store, MODEL, clock)
    follower.poll()
    compact(store, MODEL, 9, clock)
    before = store.list("")
    dry = collect(store, clock, dry_run=True)
    assert store.list("") == sorted([*before, paths.STORE_CLOCK_KEY]) and dry.deleted == ()
    done = collect(store, clock)
    assert len(done.deleted) == dry.young > 0 and done.young == 0
    assert done.boundary.version == read_boundary(store).version == 9 and done.size > 0
    assert [m.version for m in manifests(store, MODEL)] == [9, 10, 11, 12, 13]
    assert not [key for key in store.list(paths.VERSIONS) if (paths.upload_version(key) or 0) < 9]
    for version in (9, 11, 13):
        Reference.of(steps[: version - 1]).assert_is(restore(store, MODEL, version))
    for version in (1, 8):
        with pytest.raises(Invalid, match="was collected; the store holds versions from 9 on"):
            restore(store, MODEL, version)
    steps.append(content({99: 1}, offset=99))
    writer.commit(steps[-1])
    assert follower.poll().switch is not None
    fresh, replica = Follower(store, MODEL, clock).poll().switch, Reference()
    assert fresh is not None
    replica.apply(fresh)
    Reference.of(steps).assert_serves(replica)
    assert store.exists(paths.manifest_key(1))  # it names the line
    with pytest.raises(Invalid, match="version 2 was collected; wanted versions from 9 on"):
        list(manifests(store, MODEL, 1, 12))
    assert collect(store, clock).deleted == ()


def test_without_a_base_nothing_is_deleted(memory: ObjectStore, clock: SteppingClock) -> None:
    line_of(memory, clock)
    done = collect(memory, clock)
    assert done.deleted == () and done.boundary.version == 1


def test_a_base_is_proven_before_what_it_replaces_is_deleted(memory: ObjectStore, clock: SteppingClock) -> None:
    line_of(memory, clock)
    made = compact(memory, MODEL, 9, clock)
    assert made is not None
    key = made.base.parts[0][0].key
    memory.put(key, memory.get(key)[:-1] + b"x")
    before = memory.list("")
    for _ in range(2):
        with pytest.raises(Corrupt, match=key):
            collect(memory, clock)
    assert memory.list("") == sorted([*before, paths.STORE_CLOCK_KEY])


def test_a_wrong_base_neither_stops_a_collection_nor_loses_its_files(memory: ObjectStore, clock: SteppingClock) -> None:
    _, steps = line_of(memory, clock, 30)
    for version in (4, 12, 21):
        compact(memory, MODEL, version, clock)
    every = Retention(versions=1, age_s=0, every=10)
    assert collect(memory, clock, every).boundary.kept == (4, 12)
    compact(memory, MODEL, 28, clock)
    key = paths.base_key(12)
    good = memory.get(key)
    memory.put(key, b"{}")
    boundary = collect(memory, clock, every).boundary
    assert boundary.version == 28 and boundary.kept == (4, 12, 21)
    memory.put(key, good)
    for version in boundary.kept:
        Reference.of(steps[: version - 1]).assert_is(restore(memory, MODEL, version))
    memory.put(key, b"{}")
    collect(memory, clock)
    Reference.of(steps).assert_is(restore(memory, MODEL))


def test_pins_and_leases_hold_what_they_need(memory: ObjectStore, clock: SteppingClock) -> None:
    _, steps = line_of(memory, clock, 20)
    for version in (4, 9, 14, 20):
        compact(memory, MODEL, version, clock)
    control = ControlLog(memory, MODEL)
    control.append("pin", who="ann", why="", clock=clock, version=11)
    assert collect(memory, clock).boundary.version == 9
    switch = Follower(memory, MODEL, clock).poll().switch
    assert switch is not None and switch.version == 11
    control.append("unpin", who="ann", why="", clock=clock)
    leases.GRACE_S = 3600.0  # a lease counts for as long; the fixture takes it back
    with Lease(memory, "a person", clock) as lease:
        chain = plan_held(memory, MODEL, 15, lease)
        assert chain.start == 14
        assert collect(memory, clock).boundary.version == 9  # nothing is old enough
        held = Collector(memory, MODEL, clock, NEWEST)._held(0, {14, 20})
        assert held.lines == {14} and held.bases == set()
    Reference.of(steps).assert_is(restore(memory, MODEL))


def test_every_nth_base_stays_for_ever(memory: ObjectStore, clock: SteppingClock) -> None:
    _, steps = line_of(memory, clock, 30)
    for version in (4, 8, 12, 16, 21, 28):
        compact(memory, MODEL, version, clock)
    done = collect(memory, clock, Retention(versions=1, age_s=0, every=10))
    assert done.boundary.version == 28 and done.boundary.kept == (4, 12, 21)
    assert base_versions(memory) == [4, 12, 21, 28]
    for version in (4, 12, 21):
        Reference.of(steps[: version - 1]).assert_is(restore(memory, MODEL, version))
    with pytest.raises(Invalid, match="was collected"):
        restore(memory, MODEL, 13)  # its deltas are gone
    assert plan(memory, MODEL, 12).links != ()


def test_every_policy_yields_to_a_key_that_is_to_be_forgotten(memory: ObjectStore, clock: SteppingClock) -> None:
    """It keeps as much as it can of what came after the deletion, and no older base for ever."""
    writer, steps = line_of(memory, clock, 20)
    for version in (4, 14):
        compact(memory, MODEL, version, clock)
    keeping = Retention(versions=8, age_s=0, every=10)
    assert collect(memory, clock, keeping).boundary.kept == (4,)
    ControlLog(memory, MODEL).append("forget", who="ann", why="", clock=clock, keys=[RowKey(table="item", key=7)])
    assert collect(memory, clock, keeping).boundary.version == 14  # no base is without it yet
    for offset in range(50, 54):
        steps.append(content({8: offset}, gone=[7], offset=offset, obeyed=1))
        writer.commit(steps[-1])
        compact(memory, MODEL, writer.version, clock)
    boundary = collect(memory, clock, keeping).boundary
    assert (boundary.version, boundary.kept) == (22, ())
    assert base_versions(memory) == [22, 23, 24, 25]
    assert collect(memory, clock, keeping).boundary == boundary  # nothing is left to be forgotten
    Reference.of(steps).assert_is(restore(memory, MODEL))


def test_a_writer_that_slept_through_a_collection_is_fenced(memory: ObjectStore, clock: SteppingClock) -> None:
    zombie = Writer.take_over(memory, MODEL, "a", clock)
    zombie.commit(content({1: 1}, offset=1))
    heir = Writer.take_over(memory, MODEL, "a", clock)
    for offset in range(8):
        heir.commit(content({2: offset}, offset=offset))
    compact(memory, MODEL, heir.version, clock)
    collect(memory, clock)
    assert not memory.exists(paths.manifest_key(3))  # the number that the zombie will take
    with pytest.raises(Fenced, match="collected since"):
        zombie.heartbeat()
    collect(memory, clock)
    assert not memory.exists(paths.manifest_key(3))
    Reference.of([content({1: 1, 2: 7})]).assert_is(restore(memory, MODEL))


def test_a_follower_that_slept_through_a_collection_begins_with_a_base(
    memory: ObjectStore, clock: SteppingClock
) -> None:
    writer, steps = line_of(memory, clock, 4)
    follower, replica = Follower(memory, MODEL, clock), Reference()
    first = follower.poll().switch
    assert first is not None
    replica.apply(first)
    for offset in range(10, 20):
        steps.append(content({offset: 1}, gone=[offset - 1], offset=offset))
        writer.commit(steps[-1])
    compact(memory, MODEL, writer.version - 2, clock)
    collect(memory, clock)
    clock.seconds += 10
    switches = [switch for _ in range(3) if (switch := follower.poll().switch) is not None]
    assert switches and switches[0].full and follower.problem is None
    for switch in switches:
        replica.apply(switch)
    Reference.of(steps).assert_serves(replica)


# The policy alone


@given(
    st.integers(1, 60),
    st.sets(st.integers(1, 60), max_size=8),
    st.sets(st.integers(1, 60), max_size=3),
    st.integers(1, 70),
    st.integers(0, 60),
    st.dictionaries(st.integers(2, 60), st.integers(1, 59), max_size=3),
)
def test_everything_wanted_stays(
    newest: int, bases: set[int], held: set[int], versions: int, age: int, jumps: dict[int, int]
) -> None:
    """Versions are put once a second; now is the newest's time."""
    modified = {version: version * 1000 for version in range(1, newest + 1)}
    reverts = {version: min(ref, version - 1) for version, ref in jumps.items() if version <= newest}
    held = {version for version in held if version <= newest}
    retention = Retention(versions=versions, age_s=age)
    usable = sorted(version for version in bases if version <= newest)
    first = boundary_of(usable, LineFacts(modified, reverts.items()), held, retention, 1, newest * 1000)
    assert first == 1 or first in usable
    wanted = {v for v in modified if v > newest - versions or modified[v] > (newest - age) * 1000} | held
    assert all(version >= first for version in wanted)
    assert first == 1 or all(ref >= first or ref in bases for version, ref in reverts.items() if version > first)


def test_the_first_base_of_each_block_stays() -> None:
    assert kept_for_ever([3, 8, 11, 12, 40], 10) == {3, 11, 40}
    assert kept_for_ever([3, 8], None) == set()


@pytest.mark.parametrize("wrong", [{"versions": 0}, {"age_s": -1}, {"every": 0}])
def test_a_policy_that_cannot_be_meant_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(Invalid, match="wanted at least"):
        Retention(**wrong)
