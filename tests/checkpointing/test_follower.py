"""A follower steps over what is not servable, stays on good versions, heals, and costs one get a poll."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from checkpointing import paths
from checkpointing.follower import Follower
from checkpointing.history import read_manifest
from checkpointing.manifest import Gate
from checkpointing.restore import restore
from checkpointing.writer import Writer
from infra.errors import Corrupt, Invalid, Unavailable
from infra.object_store import ObjectStore
from tests.checkpointing.faulty_store import FaultyStore
from tests.checkpointing.reference import Reference, content
from tests.checkpointing.stepping_clock import SteppingClock

MODEL = "model"
REFUSED = Gate(servable=False, reasons=("calibration",))


def test_an_empty_store_is_waited_for(memory: ObjectStore, follower: Follower, clock: SteppingClock) -> None:
    faulty = FaultyStore(memory)
    follower = Follower(faulty, MODEL, clock)
    for _ in range(3):
        assert follower.poll().manifests == ()
    assert faulty.counts == {"list": 2, "get": 3}  # the control log and the line; absent, each costs one get
    writer = Writer.take_over(memory, MODEL, "learner-0", clock)
    writer.commit(content({1: 1}, offset=1))
    update = follower.poll()
    assert [m.version for m in update.manifests] == [1, 2]
    assert update.switch is not None and update.switch.full


def test_absence_costs_one_get(memory: ObjectStore, writer: Writer, clock: SteppingClock) -> None:
    writer.commit(content({1: 1}, offset=1))
    faulty = FaultyStore(memory)
    follower = Follower(faulty, MODEL, clock)
    follower.poll()
    faulty.counts.clear()
    assert follower.poll().switch is None
    assert faulty.counts == {"get": 1}
    faulty.counts.clear()
    writer.commit(content({2: 1}, offset=2))
    assert follower.poll().switch is not None
    assert faulty.counts == {"get": 3}  # manifest, pack, and the absent next manifest


def test_refused_rows_wait_for_the_next_servable_version(writer: Writer, follower: Follower) -> None:
    replica = Reference()
    steps = [
        content({1: 1, 2: 2}, offset=1),
        content({1: 3, 4: 4}, gone=[2], offset=2, gate=REFUSED),
        content({2: 5}, gone=[4], offset=3, gate=REFUSED),
        content({5: 6}, offset=4),
    ]
    writer.commit(steps[0])
    first = follower.poll()
    assert first.switch is not None
    replica.apply(first.switch)
    for step in steps[1:3]:
        manifest = writer.commit(step)
        update = follower.poll()
        assert update.switch is None and update.manifests == (manifest,)
        assert (follower.version, follower.seen) == (2, manifest.version)
    writer.heartbeat()
    last = writer.commit(steps[3])
    update = follower.poll()
    assert [m.kind for m in update.manifests] == ["heartbeat", "delta"]
    assert update.switch is not None and not update.switch.full and update.switch.version == last.version
    replica.apply(update.switch)
    Reference.of(steps).assert_serves(replica)
    assert 4 in update.switch.tables[0].tombstones  # a delta's tombstones delete what the replica may hold


def test_a_cold_start_stops_at_the_newest_servable_version(
    memory: ObjectStore, writer: Writer, clock: SteppingClock
) -> None:
    writer.commit(content({1: 1}, offset=1, dense={"w": np.ones(2, dtype=np.float32)}))
    writer.commit(content({2: 2}, offset=2))
    writer.commit(content({3: 3}, offset=3, gate=REFUSED))
    writer.heartbeat()
    follower = Follower(memory, MODEL, clock)
    update = follower.poll()
    assert update.switch is not None and update.switch.version == 3 and follower.seen == 5
    assert [m.version for m in update.manifests] == [3, 4, 5]
    replica = Reference()
    replica.apply(update.switch)
    assert set(replica.tables["item"]) == {1, 2}
    assert list(replica.dense) == ["w"]
    writer.commit(content({4: 4}, offset=4))
    update = follower.poll()
    assert update.switch is not None
    replica.apply(update.switch)
    assert set(replica.tables["item"]) == {1, 2, 3, 4}
    assert list(update.switch.dense) == ["w"]  # unchanged arrays come with every switch


def test_a_line_with_nothing_servable_is_no_switch(writer: Writer, follower: Follower) -> None:
    writer.commit(content({1: 1}, offset=1, gate=REFUSED))
    update = follower.poll()
    assert update.switch is None and update.problem is None and follower.version == 0


def test_dense_part_and_graph_change_together(memory: ObjectStore, writer: Writer, follower: Follower) -> None:
    one, two = np.ones(1, dtype=np.float32), np.full(3, 2, dtype=np.float32)
    graph = writer.put_graph(b"one", weights=["a"], labels=["click"])
    writer.commit(content({1: 1}, offset=1, dense={"a": one}, graph=graph))
    switch = follower.poll().switch
    assert switch is not None and switch.graph == graph and switch.graph_bytes == b"one"
    writer.commit(content({1: 2}, offset=2))
    switch = follower.poll().switch
    assert switch is not None and switch.graph == graph and switch.graph_bytes == b"one"
    other = writer.put_graph(b"two", weights=["b"], labels=["click"])
    writer.commit(content({1: 2}, offset=3, dense={"b": two}, graph=other))
    switch = follower.poll().switch
    assert switch is not None and switch.graph_bytes == b"two" and list(switch.dense) == ["b"]
    assert restore(memory, MODEL).graph == other


def test_a_wrong_file_is_reported_once_and_heals(
    memory: ObjectStore, writer: Writer, follower: Follower, clock: SteppingClock
) -> None:
    writer.commit(content({1: 1}, offset=1))
    assert follower.poll().switch is not None
    manifest = writer.commit(content({1: 2}, offset=2))
    key = manifest.files[0].key
    good = memory.get(key)
    memory.put(key, good[:100] + bytes([good[100] ^ 1]) + good[101:])
    update = follower.poll()
    assert update.switch is None and isinstance(update.problem, Corrupt)
    assert key in str(update.problem) and update.manifests == (manifest,)
    assert follower.poll().problem is None and follower.problem is not None
    clock.seconds += 2
    assert follower.poll().problem is None and follower.problem is not None
    memory.put(key, good)
    assert follower.poll().switch is None  # the next look is not due
    clock.seconds += 2
    update = follower.poll()
    assert update.switch is not None and update.switch.version == 3
    assert follower.problem is None


def test_a_missing_file_and_a_missing_graph_are_corrupt(
    memory: ObjectStore, writer: Writer, follower: Follower, clock: SteppingClock
) -> None:
    graph = writer.put_graph(b"one", weights=[], labels=["click"])
    writer.commit(content({1: 1}, offset=1, graph=graph))
    memory.delete(graph.key)
    problem = follower.poll().problem
    assert isinstance(problem, Corrupt) and graph.key in str(problem)
    memory.put(graph.key, b"two")
    clock.seconds += 2
    assert "another checksum" in str(follower.poll().problem)
    memory.put(graph.key, b"one")
    manifest = writer.commit(content({1: 2}, offset=2))
    memory.delete(manifest.files[0].key)
    update = follower.poll()  # the version before the missing file can be had
    assert update.switch is not None and update.switch.version == 2
    assert isinstance(update.problem, Corrupt) and "missing" in str(update.problem)
    with pytest.raises(Corrupt, match="missing"):
        restore(memory, MODEL)


def test_a_wrong_manifest_holds_the_follower_until_it_is_right(
    memory: ObjectStore, writer: Writer, follower: Follower
) -> None:
    writer.commit(content({1: 1}, offset=1))
    follower.poll()
    manifest = writer.commit(content({1: 2}, offset=2))
    key = paths.manifest_key(manifest.version)
    memory.put(key, memory.get(key)[:-1])
    assert isinstance(follower.poll().problem, Corrupt)
    assert follower.poll().problem is None and follower.problem is not None
    memory.put(key, manifest.to_json())
    update = follower.poll()
    assert update.switch is not None and follower.problem is None


def test_a_wrong_manifest_at_start_is_not_read_at_every_poll(
    memory: ObjectStore, writer: Writer, clock: SteppingClock
) -> None:
    writer.commit(content({1: 1}, offset=1))
    key = paths.manifest_key(2)
    good = memory.get(key)
    memory.put(key, b"{}")
    faulty = FaultyStore(memory)
    follower = Follower(faulty, MODEL, clock)
    assert isinstance(follower.poll().problem, Corrupt)
    faulty.counts.clear()
    assert follower.poll().problem is None and faulty.counts == {}
    memory.put(key, good)
    clock.seconds += 2
    assert follower.poll().switch is not None


def test_a_newer_format_stops_with_its_cure(memory: ObjectStore, writer: Writer, follower: Follower) -> None:
    writer.commit(content({1: 1}, offset=1))
    follower.poll()
    memory.put(paths.manifest_key(3), b'{"format":3,"anything":"else"}')
    problem = follower.poll().problem
    assert isinstance(problem, Invalid) and "upgrade" in problem.cure and follower.version == 2


def test_an_epoch_that_jumps_is_corrupt(memory: ObjectStore, writer: Writer, follower: Follower) -> None:
    writer.commit(content({1: 1}, offset=1))
    follower.poll()
    wrong = writer.last.model_copy(update={"version": 3, "parent": 2, "epoch": 7, "files": ()})
    memory.put(paths.manifest_key(3), wrong.to_json())
    problem = follower.poll().problem
    assert isinstance(problem, Corrupt) and "epoch is 7" in str(problem)


def test_an_unavailable_store_loses_no_manifest(memory: ObjectStore, writer: Writer, clock: SteppingClock) -> None:
    faulty = FaultyStore(memory)
    follower = Follower(faulty, MODEL, clock)
    writer.commit(content({1: 1}, offset=1))
    follower.poll()
    manifest = writer.commit(content({1: 2}, offset=2))
    faulty.faults = iter(("none", "none", "before"))  # manifest, absent manifest, pack
    with pytest.raises(Unavailable):
        follower.poll()
    update = follower.poll()
    assert update.manifests == (manifest,)
    assert update.switch is not None and update.switch.version == 3


def test_a_replica_never_reads_the_learners_part(memory: ObjectStore, writer: Writer, follower: Follower) -> None:
    manifest = writer.commit(content({1: 1, 2: 2}, offset=1))
    file = manifest.files[0]
    assert file.serving is not None
    data = bytearray(memory.get(file.key))
    data[file.serving.bytes :] = bytes(len(data) - file.serving.bytes)
    memory.put(file.key, data)
    switch = follower.poll().switch
    assert switch is not None and switch.tables[0].slots.shape == (2, 0)
    with pytest.raises(Corrupt, match="checksum"):
        restore(memory, MODEL)
    assert read_manifest(memory, MODEL, 2) == manifest
