"""What docs/recovery.md tells a person to do works: a wrong file, a rewound store, a lost one."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest

from checkpointing import history, paths
from checkpointing.boundary import BoundaryLog
from checkpointing.compact import compact
from checkpointing.copy import copy_store
from checkpointing.follower import Follower
from checkpointing.history import newest_version
from checkpointing.restore import restore
from checkpointing.verify import verify
from checkpointing.writer import Writer
from infra.errors import Corrupt, Invalid
from infra.object_store import ObjectStore, open_store
from infra.spec import Store
from tests.checkpointing.reference import Reference, content
from tests.checkpointing.stepping_clock import SteppingClock
from tests.checkpointing.test_compaction import line_of

MODEL = "model"


@pytest.fixture
def other(unique: Callable[[str], str]) -> ObjectStore:
    return open_store(Store(url=f"memory://{unique('copy')}"))


def test_a_rewound_store_goes_on_from_its_newest_version(memory: ObjectStore, clock: SteppingClock) -> None:
    _, steps = line_of(memory, clock, 12)
    ahead = Follower(memory, MODEL, clock)
    assert ahead.poll().switch is not None
    compact(memory, MODEL, 11, clock)
    BoundaryLog(memory).move(11, (), clock)
    for version in range(9, 14):  # a backup knows nothing of these; their packs are left
        memory.delete(paths.manifest_key(version))
    with pytest.raises(Invalid, match="was collected"):
        restore(memory, MODEL)
    memory.delete(paths.base_key(11))  # step 1 of the procedure
    memory.delete(paths.boundary_key(1))
    writer = Writer.take_over(memory, MODEL, "a", clock)  # step 2
    state = restore(memory, MODEL, writer.version)
    Reference.of(steps[:7]).assert_is(state)
    assert state.positions[0].next_offset == 7  # from here Kafka gives every sample since
    again = [*steps[:7], *(content({offset: offset}, offset=offset) for offset in range(8, 16))]
    for step in again[7:]:
        writer.commit(step)
    assert isinstance(ahead.poll().problem, Corrupt)  # stays where it is, and says so
    fresh, replica = Follower(memory, MODEL, clock).poll().switch, Reference()  # step 3
    assert fresh is not None
    replica.apply(fresh)
    Reference.of(again).assert_serves(replica)
    assert not [finding for finding in verify(memory, MODEL) if finding.problem]


def test_a_lost_store_is_made_anew_from_its_copy(memory: ObjectStore, other: ObjectStore, clock: SteppingClock) -> None:
    _, steps = line_of(memory, clock, 12)
    compact(memory, MODEL, 8, clock)
    copy_store(memory, other, MODEL, clock)
    for key in memory.list(""):
        memory.delete(key)
    copy_store(other, memory, MODEL, clock)
    writer = Writer.take_over(memory, MODEL, "a", clock)
    Reference.of(steps).assert_is(restore(memory, MODEL, writer.version))
    writer.commit(content({1: 1}, offset=13))


def test_a_wrong_file_comes_back_from_a_copy(memory: ObjectStore, other: ObjectStore, clock: SteppingClock) -> None:
    _, steps = line_of(memory, clock, 6)
    copy_store(memory, other, MODEL, clock)
    key = next(key for key in memory.list(paths.VERSIONS) if paths.upload_version(key) == 4)
    memory.put(key, b"x")
    wrong = [finding for finding in verify(memory, MODEL) if finding.problem]
    assert [finding.what for finding in wrong] == ["version 4"]
    memory.put(key, other.get(key))
    Reference.of(steps).assert_is(restore(memory, MODEL))


@pytest.mark.parametrize("threads", [1, 3, 8])
@pytest.mark.parametrize("part_bytes", [1 << 20, 1000])
def test_a_restore_is_the_same_by_any_threads_from_any_parts(
    memory: ObjectStore, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch, threads: int, part_bytes: int
) -> None:
    """The format has no shards that a reader must share: rows by key, in hash order, are all that it gets."""
    _, steps = line_of(memory, clock, 20)
    plain = restore(memory, MODEL, 15).tables["item"]
    compact(memory, MODEL, 9, clock, part_bytes=part_bytes)
    monkeypatch.setattr(history, "THREADS", threads)
    told: list[tuple[int, int]] = []
    state = restore(memory, MODEL, 15, progress=lambda done, total: told.append((done, total)))
    assert state.version == 15 and newest_version(memory) == 21
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1)) and len({total for _, total in told}) == 1
    Reference.of(steps[:14]).assert_is(state)
    for name in ("keys", "values", "slots", "frequency", "last_seen"):
        assert getattr(state.tables["item"], name).tobytes() == getattr(plain, name).tobytes()
