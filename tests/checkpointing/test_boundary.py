"""The boundary goes one way, gives every reader its time, and holds what reverts and replicas still need."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from checkpointing import lease as leases
from checkpointing import paths
from checkpointing.boundary import BoundaryLog, read_boundary
from checkpointing.collect import Collector
from checkpointing.compact import compact
from checkpointing.control import ControlLog
from checkpointing.follower import Follower
from checkpointing.history import newest_version, read_manifest
from checkpointing.lease import Lease, plan_held
from checkpointing.manifest import Gate
from checkpointing.packfile import Part
from checkpointing.restore import restore
from checkpointing.retention import Retention
from checkpointing.servable import newest_servable
from checkpointing.signed import to_signed_json
from checkpointing.writer import Writer
from infra.errors import Invalid, Unavailable
from infra.object_store import ObjectStore
from tests.checkpointing.aged_store import AgedStore
from tests.checkpointing.faulty_store import Fault, FaultyStore
from tests.checkpointing.read_only_store import ReadOnlyStore
from tests.checkpointing.reference import Reference, content
from tests.checkpointing.stepping_clock import SteppingClock
from tests.checkpointing.test_compaction import line_of

MODEL = "model"
NEWEST = Retention(versions=1, age_s=0)
EVERY_TEN = Retention(versions=1, age_s=0, every=10)
REFUSED = Gate(servable=False, reasons=("calibration",))


class OldBoundary(Part):
    """As it was written before there was a log."""

    format: int = 2
    version: int
    kept: tuple[int, ...]
    created_ts: int = 0


@pytest.fixture
def aged(memory: ObjectStore, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch) -> AgedStore:
    """A store whose clock is the test's."""
    monkeypatch.setattr(leases, "GRACE_S", 100.0)
    return AgedStore(memory, clock)


def collected(store: ObjectStore, clock: SteppingClock, retention: Retention = NEWEST) -> None:
    """All that this policy can delete now is deleted."""
    collector = Collector(store, MODEL, clock, retention)
    for _ in range(2):
        clock.seconds += 101
        collector.run()


def test_a_late_put_does_not_turn_the_boundary_back(aged: AgedStore, clock: SteppingClock) -> None:
    line_of(aged, clock, 20)
    compact(aged, MODEL, 9, clock)
    faulty = FaultyStore(aged)
    log = BoundaryLog(faulty)
    log.poll()
    faults: list[Fault] = ["none", "later"]
    faulty.faults = iter(faults)  # the look at what is there, then the put
    with pytest.raises(Unavailable):
        log.move(9, (), clock)
    compact(aged, MODEL, 19, clock)
    collected(aged, clock)
    assert read_boundary(aged).version == 19
    faulty.land_later()
    assert read_boundary(aged).version == 19 and BoundaryLog(aged).poll().version == 19


def test_a_boundary_that_landed_unheard_is_one_entry(aged: AgedStore, clock: SteppingClock) -> None:
    faults: list[Fault] = ["none", "none", "after"]
    faulty = FaultyStore(aged, iter(faults))
    with pytest.raises(Unavailable):
        BoundaryLog(faulty).move(9, (), clock)
    assert BoundaryLog(aged).move(9, (), clock).number == 1


def test_nothing_goes_before_the_boundary_has_had_its_grace(aged: AgedStore, clock: SteppingClock) -> None:
    """A reader that may not write, and so holds no lease, has one grace time from when it looked at the boundary."""
    _, steps = line_of(aged, clock, 20)
    compact(aged, MODEL, 9, clock)
    clock.seconds += 1000  # everything is old
    with Lease(ReadOnlyStore(aged), "a reader", clock) as lease:
        chain = plan_held(aged, MODEL, 5, lease)
        before = aged.list("")
        Collector(aged, MODEL, clock, NEWEST).run()
        assert read_boundary(aged).version == 9
        clock.seconds += 99
        Collector(aged, MODEL, clock, NEWEST).run()
        assert set(before) <= set(aged.list("")) and chain.start == 1
        clock.seconds += 2
    Collector(aged, MODEL, clock, NEWEST).run()
    assert not aged.exists(paths.manifest_key(5))
    Reference.of(steps).assert_is(restore(aged, MODEL))


def test_a_boundary_from_before_there_was_a_log_counts(aged: AgedStore, clock: SteppingClock) -> None:
    _, steps = line_of(aged, clock, 30)
    for version in (4, 12):
        compact(aged, MODEL, version, clock)
    collected(aged, clock, EVERY_TEN)
    aged.delete(paths.boundary_key(1))
    aged.put(paths.FIRST_BOUNDARY_KEY, to_signed_json(OldBoundary(version=12, kept=(4,))))
    assert read_boundary(aged).version == BoundaryLog(aged).poll().version == 12
    Reference.of(steps).assert_is(restore(aged, MODEL))
    compact(aged, MODEL, 28, clock)
    collected(aged, clock, EVERY_TEN)
    boundary = read_boundary(aged)
    assert (boundary.number, boundary.version, boundary.kept) == (1, 28, (4, 12))
    Reference.of(steps).assert_is(restore(aged, MODEL))


def test_a_revert_without_a_mark_keeps_what_it_starts_from(aged: AgedStore, clock: SteppingClock) -> None:
    """It was committed before reverts had marks."""
    writer, steps = line_of(aged, clock, 30)
    for version in (4, 28):
        compact(aged, MODEL, version, clock)
    writer.commit(content({7: 7}, offset=50, kind="revert", base_ref=20))
    (mark,) = (key for key in aged.list(paths.VERSIONS) if paths.revert_of(key) is not None)
    aged.delete(mark)
    collected(aged, clock)
    Reference.of([*steps[:19], content({7: 7})]).assert_is(restore(aged, MODEL))


def test_frequent_collections_do_not_starve(aged: AgedStore, clock: SteppingClock) -> None:
    """A boundary that moved at each of them would never be a grace time old."""
    writer, steps = line_of(aged, clock, 5)
    collector = Collector(aged, MODEL, clock, NEWEST)
    for offset in range(100, 200):
        steps.append(content({offset % 7: offset}, offset=offset))
        writer.commit(steps[-1])
        if offset % 2:
            compact(aged, MODEL, writer.version, clock)
        clock.seconds += 11
        collector.run()
    oldest = min(v for key in aged.list(paths.MANIFESTS) if (v := paths.manifest_version(key) or 0) > 1)
    assert oldest > writer.version - 40
    assert BoundaryLog(aged).poll().number <= 11  # once in a grace time
    Reference.of(steps).assert_is(restore(aged, MODEL))


def test_a_line_goes_on_from_a_kept_base(aged: AgedStore, clock: SteppingClock) -> None:
    writer, steps = line_of(aged, clock, 30)
    for version in (4, 12, 21, 28):
        compact(aged, MODEL, version, clock)
    collected(aged, clock, EVERY_TEN)
    assert read_boundary(aged).kept == (4, 12, 21)
    follower = Follower(aged, MODEL, clock)
    follower.poll()
    writer.commit(content({7: 7}, offset=50, kind="revert", base_ref=12))
    writer.commit(content({8: 8}, offset=51))
    line = [*steps[:11], content({7: 7, 8: 8})]
    Reference.of(line).assert_is(restore(aged, MODEL))
    switch, replica = follower.poll().switch, Reference()
    assert switch is not None and switch.full and follower.problem is None
    replica.apply(switch)
    Reference.of(line).assert_serves(replica)
    collected(aged, clock, NEWEST)  # which keeps nothing for ever, and yet what the line stands on
    Reference.of(line).assert_is(restore(aged, MODEL))
    compact(aged, MODEL, writer.version, clock)
    for offset in (60, 61):
        line.append(content({offset: offset}, offset=offset))
        writer.commit(line[-1])
    collected(aged, clock, NEWEST)
    assert not aged.exists(paths.base_key(12)) and read_boundary(aged).version == 33
    Reference.of(line).assert_is(restore(aged, MODEL))


def test_nobody_goes_back_to_what_was_collected(aged: AgedStore, clock: SteppingClock) -> None:
    writer, steps = line_of(aged, clock, 30)
    for version in (12, 28):
        compact(aged, MODEL, version, clock)
    collected(aged, clock, EVERY_TEN)
    with pytest.raises(Invalid, match="version 20 was collected, and nothing can start from it"):
        writer.commit(content({7: 7}, offset=50, kind="revert", base_ref=20))
    assert newest_version(aged) == 31 and writer.pending is None
    writer.commit(content({7: 7}, offset=50))
    Reference.of([*steps, content({7: 7})]).assert_is(restore(aged, MODEL))


def test_what_a_revert_under_way_starts_from_stays(aged: AgedStore, clock: SteppingClock) -> None:
    """Its manifest may land when the boundary has long passed what it names."""
    writer, steps = line_of(aged, clock, 30)
    for version in (4, 28):
        compact(aged, MODEL, version, clock)
    clock.seconds += 101
    faulty = FaultyStore(aged)
    slow = Writer(faulty, writer.claimed, clock, retry_for_s=0.0)
    slow._last = writer.last
    faulty.faults = iter(["none", "none", "none", "none", "later"])  # two uploads, the boundary, its successor
    with pytest.raises(Unavailable):
        slow.commit(content({7: 7}, offset=50, kind="revert", base_ref=20))
    for _ in range(4):
        collected(aged, clock, NEWEST)
    faulty.land_later()
    Reference.of([*steps[:19], content({7: 7})]).assert_is(restore(aged, MODEL))


def test_bases_are_made_and_the_line_is_collected_while_nothing_is_servable(
    aged: AgedStore, clock: SteppingClock
) -> None:
    writer, steps = line_of(aged, clock, 10)
    follower, replica = Follower(aged, MODEL, clock), Reference()
    follower.poll()
    for offset in range(20, 40):
        steps.append(content({offset: offset}, offset=offset, gate=REFUSED))
        writer.commit(steps[-1])
    compact(aged, MODEL, 30, clock)
    collected(aged, clock)
    assert read_boundary(aged).version == 1  # replicas have nothing else yet
    compact(aged, MODEL, 11, clock)
    collected(aged, clock)
    assert read_boundary(aged).version == 30 and read_boundary(aged).kept == (11,)
    assert newest_servable(aged, MODEL, 31) == 11
    fresh = Follower(aged, MODEL, clock)
    switch = fresh.poll().switch
    assert switch is not None and switch.version == 11 and fresh.problem is None
    replica.apply(switch)
    Reference.of(steps[:10]).assert_serves(replica)
    Reference.of(steps).assert_is(restore(aged, MODEL))
    steps.append(content({99: 1}, offset=99))
    writer.commit(steps[-1])
    for each in (fresh, follower):
        switch = each.poll().switch
        assert switch is not None and switch.full and switch.version == writer.version and each.problem is None
        replica.apply(switch)
        Reference.of(steps).assert_serves(replica)
    compact(aged, MODEL, writer.version, clock)
    writer.commit(content({98: 1}, offset=100))
    collected(aged, clock)
    assert not aged.exists(paths.base_key(11))


def test_a_follower_with_nothing_asks_at_once_whether_its_number_came_and_went(
    aged: AgedStore, clock: SteppingClock
) -> None:
    """It had seen a claim when it stood still for longer than the grace time."""
    _, steps = line_of(aged, clock, 12)
    stalled = Follower(aged, MODEL, clock)
    stalled._looked, stalled._seen = True, read_manifest(aged, MODEL, 1)
    compact(aged, MODEL, 13, clock)
    collected(aged, clock)
    assert read_boundary(aged).version == 13
    stalled._heard = clock.monotonic()
    switch, replica = stalled.poll().switch, Reference()
    assert switch is not None and switch.version == 13
    replica.apply(switch)
    Reference.of(steps).assert_serves(replica)


def test_a_pin_holds_its_version_though_the_boundary_passes_it(aged: AgedStore, clock: SteppingClock) -> None:
    """The collector has decided, then the pin came, then the boundary moved."""
    _, steps = line_of(aged, clock, 30)
    for version in (12, 28):
        compact(aged, MODEL, version, clock)
    ControlLog(aged, MODEL).append("pin", who="ann", why="", clock=clock, version=20)
    BoundaryLog(aged).move(28, (), clock)
    for _ in range(2):
        collected(aged, clock)
    switch, replica = Follower(aged, MODEL, clock).poll().switch, Reference()
    assert switch is not None and switch.version == 20
    replica.apply(switch)
    Reference.of(steps[:19]).assert_serves(replica)
