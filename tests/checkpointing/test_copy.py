"""A reader of a copy never meets a name without its object, whenever it looks and wherever the copying ends."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import pytest

from checkpointing import lease as leases
from checkpointing import paths
from checkpointing.boundary import BoundaryLog, read_boundary
from checkpointing.collect import Collector
from checkpointing.compact import compact
from checkpointing.content import Content
from checkpointing.copy import copy_store
from checkpointing.follower import Follower
from checkpointing.history import newest_version
from checkpointing.restore import restore
from checkpointing.retention import Retention
from checkpointing.verify import verify
from checkpointing.writer import Writer
from infra.errors import Invalid, Unavailable
from infra.object_store import ObjectStore, open_store
from infra.object_store.contract import Data
from infra.spec import Store
from tests.checkpointing.aged_store import AgedStore
from tests.checkpointing.faulty_store import FaultyStore
from tests.checkpointing.reference import Reference, content
from tests.checkpointing.stepping_clock import SteppingClock
from tests.checkpointing.test_compaction import line_of

MODEL = "model"
KEEPING = Retention(versions=3, age_s=0, every=10)


@pytest.fixture
def target(unique: Callable[[str], str]) -> ObjectStore:
    return open_store(Store(url=f"memory://{unique('copy')}"))


@pytest.fixture
def source(memory: ObjectStore, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch) -> AgedStore:
    monkeypatch.setattr(leases, "GRACE_S", 100.0)
    return AgedStore(memory, clock)


class Watched:
    """A target that is read after every write, and that fails for good after ``most`` of them."""

    def __init__(self, inner: ObjectStore, look: Callable[[ObjectStore], None], most: int = 1 << 30) -> None:
        self._inner = inner
        self._look = look
        self._left = most
        self.url = inner.url

    def put(self, key: str, data: Data) -> None:
        self._count(key)
        self._inner.put(key, data)
        self._look(self._inner)

    def create(self, key: str, data: Data) -> None:
        self._count(key)
        self._inner.create(key, data)
        self._look(self._inner)

    def _count(self, key: str) -> None:
        if self._left == 0:
            raise Unavailable(f"write {key} failed on purpose")
        self._left -= 1

    def list(self, prefix: str, after: str | None = None) -> builtins.list[str]:
        return self._inner.list(prefix, after)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def readable(steps: list[Content], clock: SteppingClock) -> Callable[[ObjectStore], None]:
    """Whether the newest version of a store can be restored, and followed where anything in it can be."""

    def look(store: ObjectStore) -> None:
        newest = newest_version(store)
        if newest is not None:
            Reference.of(steps[: newest - 1]).assert_is(restore(store, MODEL))
            assert Follower(store, MODEL, clock).poll().problem is None

    return look


def collected_line(source: AgedStore, clock: SteppingClock) -> tuple[Writer, list[Content]]:
    writer, steps = line_of(source, clock, 30)
    for version in (8, 19, 26):
        compact(source, MODEL, version, clock)
    for _ in range(2):
        clock.seconds += 101
        Collector(source, MODEL, clock, KEEPING).run()
    assert read_boundary(source).version == 26 and read_boundary(source).kept == (8, 19)
    return writer, steps


def test_a_reader_sees_no_name_without_its_object(
    source: AgedStore, target: ObjectStore, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkpointing.history.THREADS", 1)  # a look after each write sees one state
    writer, steps = collected_line(source, clock)
    look = readable(steps, clock)
    assert copy_store(source, Watched(target, look), MODEL, clock) == 31
    for offset in range(100, 120):
        steps.append(content({offset: 1}, offset=offset))
        writer.commit(steps[-1])
    compact(source, MODEL, 45, clock)
    for _ in range(2):
        clock.seconds += 101
        Collector(source, MODEL, clock, KEEPING).run()
    assert read_boundary(source).version == 45  # the target's newest version was collected here
    assert copy_store(source, Watched(target, look), MODEL, clock) == 51
    assert read_boundary(target).version == 45
    assert not [finding for finding in verify(target, MODEL) if finding.problem]


def test_what_ends_a_copy_leaves_one_that_can_be_read_and_finished(
    source: AgedStore, target: ObjectStore, clock: SteppingClock
) -> None:
    _, steps = collected_line(source, clock)
    look = readable(steps, clock)
    for most in range(1, 60, 7):
        part = open_store(Store(url=f"{target.url}-{most}"))
        try:
            copy_store(source, Watched(part, lambda store: None, most), MODEL, clock)
        except Unavailable:
            look(part)
            copy_store(source, part, MODEL, clock)
        look(part)
        assert newest_version(part) == 31
        assert not [finding for finding in verify(part, MODEL) if finding.problem]


def test_a_base_made_meanwhile_comes_whole_or_not_at_all(
    memory: ObjectStore, source: AgedStore, target: ObjectStore, clock: SteppingClock
) -> None:
    """Its parts were not there when the parts were listed, and its object was when the bases were."""
    _, steps = line_of(source, clock, 20)
    listed = source.list

    def compacting(prefix: str, after: str | None = None) -> builtins.list[str]:
        keys = listed(prefix, after)
        if prefix in (paths.COMPACTED, paths.BASES):
            compact(memory, MODEL, 12 if prefix == paths.COMPACTED else 17, clock)
        return keys

    source.list = compacting  # type: ignore[method-assign]
    copy_store(source, target, MODEL, clock)
    assert not [finding for finding in verify(target, MODEL) if finding.problem]
    Reference.of(steps).assert_is(restore(target, MODEL))


@pytest.mark.parametrize("start", [19, 21])
def test_what_a_revert_starts_from_is_copied_though_the_boundary_passed_it(
    source: AgedStore, target: ObjectStore, clock: SteppingClock, start: int
) -> None:
    """The collector had decided, then the mark came, then the boundary moved; the copy was collected first."""
    writer, steps = line_of(source, clock, 30)
    for version in (8, 19, 26):
        compact(source, MODEL, version, clock)
    faulty = FaultyStore(source)
    slow = Writer(faulty, writer.claimed, clock, retry_for_s=0.0)
    slow._last = writer.last
    faulty.faults = iter(["none", "none", "none", "none", "later"])  # two uploads, the boundary, its successor
    with pytest.raises(Unavailable):
        slow.commit(content({7: 7}, offset=50, kind="revert", base_ref=start))
    BoundaryLog(source).move(26, (), clock)
    aged = AgedStore(target, clock)
    copy_store(source, aged, MODEL, clock)
    for _ in range(2):
        clock.seconds += 101
        Collector(aged, MODEL, clock, KEEPING).run()
    faulty.land_later()
    copy_store(source, aged, MODEL, clock)
    Reference.of([*steps[: start - 1], content({7: 7})]).assert_is(restore(target, MODEL))


def test_another_line_is_refused(source: AgedStore, target: ObjectStore, clock: SteppingClock) -> None:
    line_of(source, clock, 3)
    line_of(target, clock, 2)
    with pytest.raises(Invalid, match="version 1 is not the source's"):
        copy_store(source, target, MODEL, clock)
