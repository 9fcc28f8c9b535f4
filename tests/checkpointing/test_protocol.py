"""The protocol of FORMAT.md 5 over memory, disk and a real S3 server: the same tests for all."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from checkpointing import paths
from checkpointing.content import Content
from checkpointing.follower import Follower
from checkpointing.history import manifests, newest_version, read_manifest
from checkpointing.manifest import Position
from checkpointing.restore import restore
from checkpointing.writer import Writer
from infra.backoff import Stopped
from infra.clock import SystemClock
from infra.errors import Fenced, Invalid, Unavailable
from infra.object_store import ObjectStore
from tests.checkpointing.faulty_store import FaultyStore
from tests.checkpointing.reference import TOPIC, Reference, content, table
from tests.checkpointing.stepping_clock import SteppingClock

MODEL = "model"


def writer_of(store: ObjectStore, clock: SteppingClock, identity: str = "learner-0", takeover: bool = False) -> Writer:
    return Writer.take_over(store, MODEL, identity, clock, takeover)


def test_a_fresh_store_begins_with_a_claim(store: ObjectStore, clock: SteppingClock) -> None:
    assert newest_version(store) is None
    with pytest.raises(Invalid, match="no version"):
        restore(store, MODEL)
    writer = writer_of(store, clock)
    claimed = read_manifest(store, MODEL, 1)
    assert claimed == writer.claimed
    assert (writer.claimed.version, writer.claimed.epoch, writer.claimed.kind) == (1, 1, "claim")
    assert writer.claimed.positions == ()
    assert restore(store, MODEL).tables == {}


def test_commits_are_restored_and_followed(store: ObjectStore, clock: SteppingClock) -> None:
    writer, follower, replica = writer_of(store, clock), Follower(store, MODEL, clock), Reference()
    steps = [
        content({1: 10, -1: 11, 2**63 - 1: 12}, offset=3),
        content({1: 20, -(2**63): 21}, gone=[-1], offset=5),
        content({-1: 30}, gone=[1, 404], offset=9),
    ]
    for step in steps:
        manifest = writer.commit(step)
        update = follower.poll()
        assert update.manifests[-1] == manifest
        assert update.switch is not None and update.switch.version == manifest.version
        replica.apply(update.switch)
    for known in range(len(steps) + 1):
        Reference.of(steps[:known]).assert_is(restore(store, MODEL, known + 1))
    Reference.of(steps).assert_serves(replica)
    late = Follower(store, MODEL, clock).poll().switch
    assert late is not None and late.full and late.version == 4
    fresh = Reference()
    fresh.apply(late)
    Reference.of(steps).assert_serves(fresh)
    line = list(manifests(store, MODEL))
    assert [m.positions[0].next_offset for m in line[1:]] == [3, 5, 9]
    assert len({m.attempt for m in line}) == len({m.commit_uuid for m in line}) == 4
    assert all(m.attempt in file.key for m in line for file in m.files)


def test_streamed_restore_gives_the_deltas_in_order(store: ObjectStore, clock: SteppingClock) -> None:
    writer = writer_of(store, clock)
    steps = [content({key: number for key in range(number)}, offset=number) for number in range(1, 25)]
    for step in steps:
        writer.commit(step)
    streamed, done = Reference(), []
    state = restore(store, MODEL, on_delta=streamed.apply, progress=lambda *args: done.append(args))
    assert state.tables == {} and state.sample_ids == ()
    assert streamed.tables == Reference.of(steps).tables
    assert done == [(number, 24) for number in range(1, 25)]


def test_the_same_identity_claims_at_once_and_fences_the_other(store: ObjectStore, clock: SteppingClock) -> None:
    zombie = writer_of(store, clock)
    zombie.commit(content({1: 1}, offset=1))
    heir = writer_of(store, clock)
    assert clock.seconds == 0
    assert (heir.version, heir.epoch) == (3, 2)
    assert heir.claimed.positions == zombie.last.positions
    heir.commit(content({2: 2}, offset=2))
    before = {key: store.get(key) for key in store.list("")}
    for _ in range(2):
        with pytest.raises(Fenced, match="version 3 was committed by learner `learner-0`, epoch 2"):
            zombie.commit(content({1: 99}, offset=99))
    with pytest.raises(Fenced):
        zombie.heartbeat()
    with pytest.raises(Fenced):
        zombie.retry()
    assert {key: store.get(key) for key in before} == before
    assert newest_version(store) == 4
    Reference.of([content({1: 1, 2: 2})]).assert_is(restore(store, MODEL))


def test_another_identity_waits_for_silence(store: ObjectStore, clock: SteppingClock) -> None:
    writer_of(store, clock, "a").commit(content({1: 1}, offset=1))
    told: list[str] = []
    heir = Writer.take_over(store, MODEL, "b", clock, on_wait=told.append)
    assert clock.seconds == pytest.approx(30)
    assert len(told) == 1 and "`a`" in told[0] and "30 s" in told[0]
    assert (heir.version, heir.epoch, heir.claimed.learner) == (3, 2, "b")
    forced = writer_of(store, clock, "c", takeover=True)
    assert clock.seconds == pytest.approx(30)
    assert forced.epoch == 3


def test_another_identity_gives_way_to_a_living_writer(store: ObjectStore, clock: SteppingClock) -> None:
    living = writer_of(store, clock, "a")

    class HeartClock(SteppingClock):
        def wait(self, event: threading.Event, seconds: float) -> bool:
            if self.seconds < 10 <= self.seconds + seconds:
                living.heartbeat()
            return super().wait(event, seconds)

    with pytest.raises(Fenced, match="learner `a` is alive") as caught:
        writer_of(store, HeartClock(), "b")
    assert "--takeover" in caught.value.cure
    living.commit(content({1: 1}, offset=1))


def test_waiting_for_silence_can_be_stopped(memory: ObjectStore, clock: SteppingClock) -> None:
    writer_of(memory, clock, "a")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        Writer.take_over(memory, MODEL, "b", clock, stop=stop)
    assert newest_version(memory) == 1


def test_of_racing_writers_exactly_one_wins(store: ObjectStore) -> None:
    clock = SystemClock()
    barrier = threading.Barrier(4)

    def race(name: int) -> int | None:
        try:
            writer = Writer.take_over(store, MODEL, "same", clock)
            barrier.wait(30)
            for step in range(3):
                writer.commit(content({name: step}, offset=step))
        except Fenced:
            return None
        return name

    with ThreadPoolExecutor(4) as pool:
        winners = [name for name in pool.map(race, range(1, 5)) if name is not None]
    line = list(manifests(store, MODEL))
    assert len(winners) == 1
    assert [m.version for m in line] == list(range(1, len(line) + 1))
    assert [m.kind for m in line] == ["claim"] * 4 + ["delta"] * 3
    Reference.of([content({winners[0]: 2})]).assert_is(restore(store, MODEL))


def test_a_lost_reply_is_success(store: ObjectStore, clock: SteppingClock) -> None:
    # claim: list, create; commit: put pack, create manifest
    faulty = FaultyStore(store, iter(("none", "after", "none", "after", "after", "none", "twice")))
    writer = writer_of(faulty, clock)
    assert writer.version == 1
    assert writer.commit(content({1: 1}, offset=1)).version == 2
    assert writer.commit(content({2: 2}, offset=2)).version == 3
    assert not writer.pending
    assert [m.kind for m in manifests(store, MODEL)] == ["claim", "delta", "delta"]
    Reference.of([content({1: 1, 2: 2})]).assert_is(restore(store, MODEL))


def test_a_conflict_that_nobody_won_is_tried_again(store: ObjectStore, clock: SteppingClock) -> None:
    faulty = FaultyStore(store)
    writer = writer_of(faulty, clock)
    faulty.faults = iter(("none", "contended", "none", "contended"))
    assert writer.commit(content({1: 1}, offset=1)).version == 2
    assert newest_version(store) == 2


def test_a_crash_between_pack_and_manifest_leaves_no_version(store: ObjectStore, clock: SteppingClock) -> None:
    faulty = FaultyStore(store)
    writer = writer_of(faulty, clock)
    faulty.faults = itertools.chain(("none",), itertools.repeat("before"))
    with pytest.raises(Unavailable):
        writer.commit(content({1: 1}, offset=1))
    orphans = store.list(paths.VERSIONS)
    assert len(orphans) == 1 and newest_version(store) == 1
    update = Follower(store, MODEL, clock).poll()
    assert update.switch is None and update.problem is None
    heir = writer_of(store, clock)
    heir.commit(content({2: 2}, offset=2))
    Reference.of([content({2: 2})]).assert_is(restore(store, MODEL))
    assert orphans[0] in store.list(paths.VERSIONS)


def test_an_unknown_outcome_stays_pending_and_lands_first(store: ObjectStore, clock: SteppingClock) -> None:
    faulty = FaultyStore(store)
    writer = writer_of(faulty, clock)
    faulty.faults = itertools.chain(("none", "later"), itertools.repeat("before"))
    first, second = content({1: 1}, offset=1, batches=[[(0, 0, 1)]]), content({1: 2}, offset=2, batches=[[(0, 1, 2)]])
    with pytest.raises(Unavailable):
        writer.commit(first)
    assert writer.pending and 10 <= clock.seconds <= 12
    with pytest.raises(Unavailable):
        writer.commit(second)
    assert writer.pending is first
    faulty.faults = iter(())
    faulty.land_later()  # the first try arrives after all
    assert writer.commit(second).version == 3
    assert [m.batches for m in manifests(store, MODEL, 2)] == [(((0, 0, 1),),), (((0, 1, 2),),)]
    assert writer.retry() is None


def test_a_heartbeat_never_goes_back_behind_a_pending_commit(store: ObjectStore, clock: SteppingClock) -> None:
    faulty = FaultyStore(store)
    writer = writer_of(faulty, clock)
    faulty.faults = itertools.repeat("before")
    with pytest.raises(Unavailable):
        writer.commit(content({1: 1}, offset=7))
    faulty.faults = iter(())
    assert writer.heartbeat().positions[0].next_offset == 7
    assert [m.kind for m in manifests(store, MODEL)] == ["claim", "delta", "heartbeat"]


def test_repeating_a_pending_commit_does_not_commit_twice(store: ObjectStore, clock: SteppingClock) -> None:
    faulty = FaultyStore(store)
    writer = writer_of(faulty, clock)
    faulty.faults = itertools.repeat("before")
    step = content({1: 1}, offset=1)
    for _ in range(2):
        with pytest.raises(Unavailable):
            writer.commit(step)
    faulty.faults = iter(())
    assert writer.commit(step).version == 2
    faulty.faults = itertools.repeat("before")
    with pytest.raises(Unavailable):
        writer.heartbeat()
    faulty.faults = iter(())
    assert writer.heartbeat().version == 3
    assert newest_version(store) == 3


@pytest.mark.parametrize("large", [False, True])
def test_puts_of_a_commit(memory: ObjectStore, clock: SteppingClock, large: bool) -> None:
    """Two below 8 MiB, three above, however many tables; one where nothing changed."""
    faulty = FaultyStore(memory)
    writer = writer_of(faulty, clock)
    rows = 9_000 if large else 100
    tables = [table(f"table_{number}", {key: key for key in range(rows)}) for number in range(26)]
    faulty.counts.clear()
    writer.commit(Content(tables=tables, positions=[Position(topic=TOPIC, partition=0, next_offset=1)]))
    # The get is a look at the collection's boundary.
    assert faulty.counts == ({"put": 2, "create": 1, "get": 1} if large else {"put": 1, "create": 1, "get": 1})
    faulty.counts.clear()
    writer.heartbeat()
    assert faulty.counts == {"create": 1, "get": 1}


def test_a_graph_is_stored_once(store: ObjectStore, clock: SteppingClock) -> None:
    faulty = FaultyStore(store)
    writer = writer_of(faulty, clock)
    faulty.counts.clear()
    graph = writer.put_graph(b"program", weights=["w"], labels=["click"])
    assert faulty.counts["put"] == 0  # what no version names may be collected: it goes up with the version
    writer.commit(content({1: 1}, offset=1, graph=graph))
    assert faulty.counts["put"] == 2 and store.get(graph.key) == b"program"
    assert writer.put_graph(b"program", weights=["w"], labels=["click"]) == graph
    writer.commit(content({1: 2}, offset=2, graph=graph))
    assert faulty.counts["put"] == 3
    assert len(store.list(paths.GRAPHS)) == 1


def test_one_prefix_holds_one_model(store: ObjectStore, clock: SteppingClock) -> None:
    writer_of(store, clock)
    with pytest.raises(Invalid, match="holds model `model`") as caught:
        restore(store, "other")
    assert "own prefix" in caught.value.cure
    with pytest.raises(Invalid):
        Writer.take_over(store, "other", "learner-0", clock)
