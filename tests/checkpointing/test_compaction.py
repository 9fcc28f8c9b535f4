"""A base is another way to write a version: restored, followed and compacted again, it is the same fold."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from checkpointing import paths, signed
from checkpointing.base import MAX_BASE_BYTES, base_versions, read_base
from checkpointing.chain import plan
from checkpointing.compact import LISTED_PART_BYTES, LISTED_RANGE_BYTES, _hash_bits, compact, is_due
from checkpointing.content import Array, Content
from checkpointing.follower import Follower
from checkpointing.precision import Precision
from checkpointing.restore import restore
from checkpointing.signed import MAX_BYTES
from checkpointing.windows import joined_sample_ids
from checkpointing.writer import Writer
from infra.errors import Corrupt, Invalid
from infra.object_store import ObjectStore
from tests.checkpointing.faulty_store import FaultyStore
from tests.checkpointing.reference import Reference, content, table
from tests.checkpointing.stepping_clock import SteppingClock
from tests.checkpointing.test_follower_reverts import revert

MODEL = "model"


def line_of(store: ObjectStore, clock: SteppingClock, count: int = 12) -> tuple[Writer, list[Content]]:
    """Rows that come, change, go and return, with arrays that change now and then."""
    writer = Writer.take_over(store, MODEL, "a", clock)
    random = np.random.default_rng(count)
    steps = []
    for number in range(1, count + 1):
        keys = random.choice(40, size=random.integers(1, 9), replace=False)
        gone = [int(key) for key in keys if random.random() < 0.3]
        arrays = {"dense": {"w": np.full(2, number, np.float32)}} if number % 3 == 1 else {}
        rows = {int(key) - 20: number for key in keys if int(key) not in gone}
        ids = np.array([[number * 100, number]], dtype=np.int64)
        step = content(rows, [key - 20 for key in gone], offset=number, sample_ids={"window": ids}, **arrays)
        steps.append(step)
        writer.commit(step)
    return writer, steps


def test_a_base_is_its_version(store: ObjectStore, clock: SteppingClock) -> None:
    writer, steps = line_of(store, clock)
    before = restore(store, MODEL, 8)
    compacted = compact(store, MODEL, 8, clock)
    assert compacted is not None and base_versions(store) == [8] and compacted.deltas == 7
    after = restore(store, MODEL, 8)
    Reference.of(steps[:7]).assert_is(after)
    assert (after.manifest, after.graph) == (before.manifest, before.graph)
    ids = [np.concatenate([each["window"] for each in state.sample_ids]) for state in (before, after)]
    np.testing.assert_array_equal(ids[0], ids[1])
    Reference.of(steps).assert_is(restore(store, MODEL))
    for version in (3, 9, 12, 13):
        Reference.of(steps[: version - 1]).assert_is(restore(store, MODEL, version))
    replica = Reference()
    switch = Follower(store, MODEL, clock).poll().switch
    assert switch is not None and switch.full
    replica.apply(switch)
    Reference.of(steps).assert_serves(replica)
    assert compact(store, MODEL, 8, clock) is None
    writer.commit(content({99: 1}, offset=99))  # beside a running writer


@pytest.mark.parametrize("part_bytes", [1 << 20, 4000, 1000])
def test_bases_upon_bases_in_any_number_of_parts(memory: ObjectStore, clock: SteppingClock, part_bytes: int) -> None:
    _, steps = line_of(memory, clock, 20)
    for version in (5, 11, 12, 21):
        compact(memory, MODEL, version, clock, part_bytes=part_bytes)
    base = read_base(memory, MODEL, 21)
    assert base is not None and (len(base.parts) > 1) == (part_bytes < 1 << 20)
    Reference.of(steps).assert_is(restore(memory, MODEL))
    streamed = Reference()
    restore(memory, MODEL, on_delta=streamed.apply)
    assert streamed.tables["item"] == Reference.of(steps).tables["item"]
    assert all(len(plan(memory, MODEL, 21).links) == len(base.parts) for _ in range(1))


def test_start_up_reads_the_base_and_what_follows(memory: ObjectStore, clock: SteppingClock) -> None:
    line_of(memory, clock, 60)
    compact(memory, MODEL, 58, clock)
    faulty = FaultyStore(memory)
    restore(faulty, MODEL, 61, clock=clock)
    # bases; boundary twice; base 58 and manifests 58 to 61; the packs of 58 to 61
    assert faulty.counts["list"] == 3 and faulty.counts["get"] == 1 + 4 + 4
    faulty.counts.clear()
    Follower(faulty, MODEL, clock).poll()
    assert faulty.counts["get"] <= 20 and faulty.counts["list"] <= 7


def test_rows_keep_their_precision_and_learners_all_digits(memory: ObjectStore, clock: SteppingClock) -> None:
    writer = Writer.take_over(memory, MODEL, "a", clock)
    values = np.random.default_rng(3).normal(size=(50, 2)).astype(np.float32)
    rows = table("item", {key: key for key in range(50)})
    rows.values[...] = values
    precisions: tuple[Precision, ...] = ("int8", "bfloat16")
    for precision in precisions:
        writer.commit(Content(tables=[rows], precision={"item": precision}, positions=content(offset=1).positions))
    compact(memory, MODEL, 2, clock)
    compact(memory, MODEL, 3, clock)
    for version, dtype in ((2, "int8"), (3, "bfloat16")):
        base = read_base(memory, MODEL, version)
        assert base is not None and base.parts[0][0].ranges[0].dtype == dtype
        state = restore(memory, MODEL, version).tables["item"]
        np.testing.assert_array_equal(state.values[np.argsort(state.keys)], values)
    switch = Follower(memory, MODEL, clock).poll().switch
    assert switch is not None
    served = switch.tables[0].values[np.argsort(switch.tables[0].keys)]
    assert 0 < np.abs(served - values).max() <= np.abs(values).max() / 256


def test_sample_ids_leave_with_their_window() -> None:
    increments = [{"window": np.array([[at, at]], dtype=np.int64)} for at in (10, 30, 20, 45)]
    assert joined_sample_ids(increments, 20)["window"][:, 0].tolist() == [30, 45]
    assert joined_sample_ids(increments, None)["window"][:, 0].tolist() == [10, 30, 20, 45]
    with pytest.raises(Invalid, match="cannot be joined"):
        joined_sample_ids([*increments, {"window": np.zeros(3)}], None)


def test_of_counts_the_last_one_stays() -> None:
    def counts(entries: dict[int, int]) -> dict[str, Array]:
        return {
            "admission/item/keys": np.array(list(entries), dtype=np.int64),
            "admission/item/occurrences": np.array(list(entries.values()), dtype=np.uint32),
            "admission/item/counters": np.array([[number] * 2 for number in entries.values()], dtype=np.uint8),
        }

    joined = joined_sample_ids([counts({1: 1, 2: 1}), counts({3: 1, 1: 2}), counts({2: 0})], 10)
    assert joined["admission/item/keys"].tolist() == [3, 1]
    assert joined["admission/item/occurrences"].tolist() == [1, 2]
    assert joined["admission/item/counters"].tolist() == [[1, 1], [2, 2]]


def test_filter_blocks_and_graph_are_carried(memory: ObjectStore, clock: SteppingClock) -> None:
    writer = Writer.take_over(memory, MODEL, "a", clock)
    graph = writer.put_graph(b"program", weights=["w"], labels=["click"])
    blocks = [np.full(4, number, np.uint8) for number in range(3)]
    writer.commit(content({1: 1}, offset=1, graph=graph, dense={"w": np.ones(1)}, filters={"a": blocks[0]}))
    writer.commit(content({2: 2}, offset=2, filters={"b": blocks[1]}))
    writer.commit(content({2: 2}, offset=3, filters={"a": blocks[2]}))
    before = restore(memory, MODEL)
    compact(memory, MODEL, 4, clock)
    after = restore(memory, MODEL)
    for state in (before, after):
        assert state.graph == graph and {name: block[0] for name, block in state.filters.items()} == {"a": 2, "b": 1}
    switch = Follower(memory, MODEL, clock).poll().switch
    assert switch is not None and switch.graph_bytes == b"program"


def test_a_revert_jumps_over_a_base(memory: ObjectStore, clock: SteppingClock) -> None:
    writer, steps = line_of(memory, clock, 10)
    compact(memory, MODEL, 4, clock)
    compact(memory, MODEL, 9, clock)
    reverted = revert(memory, writer.last, base_ref=6)
    assert plan(memory, MODEL, reverted.version).base is not None
    Reference.of(steps[:5]).assert_is(restore(memory, MODEL))
    compact(memory, MODEL, reverted.version, clock)
    Reference.of(steps[:5]).assert_is(restore(memory, MODEL))
    Reference.of(steps).assert_is(restore(memory, MODEL, 11))


def test_a_writer_reverts(memory: ObjectStore, clock: SteppingClock) -> None:
    writer, steps = line_of(memory, clock, 6)
    follower, replica = Follower(memory, MODEL, clock), Reference()
    follower.poll()
    new = content({7: 7}, offset=50, kind="revert", base_ref=3)
    manifest = writer.commit(new)
    assert (manifest.kind, manifest.base_ref, manifest.positions[0].next_offset) == ("revert", 3, 50)
    switch = follower.poll().switch
    assert switch is not None and switch.full
    replica.apply(switch)
    Reference.of([*steps[:2], new]).assert_serves(replica)
    Reference.of([*steps[:2], new]).assert_is(restore(memory, MODEL))


@pytest.mark.parametrize("earlier", [False, True])
def test_a_wrong_part_of_a_base_is_passed_over(memory: ObjectStore, clock: SteppingClock, earlier: bool) -> None:
    _, steps = line_of(memory, clock)
    if earlier:
        compact(memory, MODEL, 5, clock)
    compacted = compact(memory, MODEL, 8, clock, part_bytes=1000)
    assert compacted is not None
    key = compacted.base.parts[-1][0].key
    memory.put(key, memory.get(key)[:-1] + b"x")
    streamed = Reference()
    restore(memory, MODEL, on_start=streamed.tables.clear, on_delta=streamed.apply)
    assert streamed.tables["item"] == Reference.of(steps).tables["item"]
    Reference.of(steps).assert_is(restore(memory, MODEL))
    memory.delete(paths.manifest_key(2))
    memory.delete(paths.base_key(5))
    with pytest.raises(Corrupt, match=key):  # what is wrong, not where the way around it ends
        restore(memory, MODEL)


def test_a_wrong_base_is_passed_over(memory: ObjectStore, clock: SteppingClock) -> None:
    _, steps = line_of(memory, clock)
    compact(memory, MODEL, 8, clock)
    memory.put(paths.base_key(8), b"{}")
    Reference.of(steps).assert_is(restore(memory, MODEL))
    update = Follower(memory, MODEL, clock).poll()
    assert update.switch is not None and update.switch.version == 13
    assert compact(memory, MODEL, 12, clock) is not None  # the line gets its next base all the same
    with pytest.raises(Corrupt, match=paths.base_key(8)):
        compact(memory, MODEL, 8, clock)
    Reference.of(steps).assert_is(restore(memory, MODEL))


def test_replicas_pass_over_a_missing_part(memory: ObjectStore, clock: SteppingClock) -> None:
    _, steps = line_of(memory, clock)
    compacted = compact(memory, MODEL, 8, clock)
    assert compacted is not None
    memory.delete(compacted.base.parts[0][0].key)
    update = Follower(memory, MODEL, clock).poll()
    assert update.switch is not None and isinstance(update.problem, Corrupt)
    replica = Reference()
    replica.apply(update.switch)
    Reference.of(steps).assert_serves(replica)


def test_a_base_of_a_lost_future_is_not_used(memory: ObjectStore, clock: SteppingClock) -> None:
    """The store was rewound behind a base, and the number committed anew."""
    line_of(memory, clock, 9)
    compact(memory, MODEL, 9, clock)
    for version in (7, 8, 9, 10):
        memory.delete(paths.manifest_key(version))
    writer = Writer.take_over(memory, MODEL, "a", clock)
    for number in range(5):
        writer.commit(content({500: number + 1}, offset=100 + number))
    assert plan(memory, MODEL, 12).base is None
    assert restore(memory, MODEL).positions[0].next_offset == 104


def test_a_crash_before_the_last_put_leaves_no_base(
    memory: ObjectStore, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, steps = line_of(memory, clock)
    faulty = FaultyStore(memory)
    with pytest.raises(AssertionError):
        monkeypatch.setattr(faulty, "create", _crash)
        compact(faulty, MODEL, 8, clock)
    assert base_versions(memory) == [] and memory.list(paths.COMPACTED) != []
    assert compact(memory, MODEL, 8, clock) is not None
    Reference.of(steps).assert_is(restore(memory, MODEL))


def _crash(*_: object) -> None:
    raise AssertionError("crash")


def test_a_base_may_be_larger_than_a_manifest(memory: ObjectStore, clock: SteppingClock) -> None:
    """8,192 parts of 26 tables are listed in about 80 MB; members that a reader does not know are as good."""
    _, steps = line_of(memory, clock)
    made = compact(memory, MODEL, 8, clock)
    assert made is not None
    body = made.base.to_json()[:-77] + b',"later":"' + b"x" * (MAX_BYTES + 1) + b'"}'
    memory.put(paths.base_key(8), body[:-1] + signed._tail(body))
    assert read_base(memory, MODEL, 8) == made.base
    memory.delete(made.base.manifest.files[0].key)
    Reference.of(steps).assert_is(restore(memory, MODEL))


@pytest.mark.parametrize(("tables", "bits"), [(26, 13), (200, 11), (4000, 6)])
def test_parts_grow_rather_than_a_base_that_nobody_could_read(
    memory: ObjectStore, clock: SteppingClock, tables: int, bits: int
) -> None:
    line_of(memory, clock)
    assert _hash_bits(plan(memory, MODEL, 13), 0, 1, tables) <= bits
    chain = plan(memory, MODEL, 13)
    large = replace(chain, links=chain.links * 2000)
    assert _hash_bits(large, 0, 1, tables) == bits
    at_most = (1 << bits) * (LISTED_PART_BYTES + 2 * tables * LISTED_RANGE_BYTES)
    assert at_most <= MAX_BASE_BYTES
    assert _hash_bits(large, 13, 1, tables) == 13  # a part is split, never joined


def test_it_is_due_when_reading_costs_more_than_writing(memory: ObjectStore, clock: SteppingClock) -> None:
    writer, _ = line_of(memory, clock, 40)
    assert not is_due(plan(memory, MODEL, 41))
    for number in range(30):
        writer.commit(content({number: 1}, offset=41 + number))
    assert is_due(plan(memory, MODEL, 71))
    compact(memory, MODEL, 71, clock)
    assert not is_due(plan(memory, MODEL, 71))
