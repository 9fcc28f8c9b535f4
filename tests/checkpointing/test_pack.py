"""What is packed is unpacked, bit for bit and in hash order, and nothing else can be packed."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from checkpointing import layout, paths
from checkpointing.content import Array, Content, Delta
from checkpointing.hash_order import mix64
from checkpointing.manifest import Gate, Manifest, Timeline
from checkpointing.pack import Packed, pack
from checkpointing.unpack import unpack
from infra.errors import Invalid
from kernels.rows import TableRows
from tests.checkpointing.reference import by_key, table

ATTEMPT = "0123456789abcdef" * 2

EXTREME = [0, 1, -1, 2**63 - 1, -(2**63), 2**32, -(2**32)]
keys = st.one_of(st.sampled_from(EXTREME), st.integers(-(2**63), 2**63 - 1))
floats = st.floats(width=32)


@st.composite
def rows_of(draw: st.DrawFn, name: str) -> TableRows:
    both = draw(st.lists(keys, unique=True, max_size=40))
    split = draw(st.integers(0, len(both)))
    dim, slots = draw(st.integers(1, 20)), draw(st.integers(0, 5))

    def array(dtype: Any, shape: tuple[int, ...], elements: Any) -> Array:
        return draw(hnp.arrays(dtype, shape, elements=elements))

    return TableRows(
        table=name,
        keys=np.array(both[:split], dtype=np.int64),
        values=array(np.float32, (split, dim), floats),
        slots=array(np.float32, (split, slots), floats),
        frequency=array(np.uint32, (split,), st.integers(0, 2**32 - 1)),
        last_seen=array(np.int64, (split,), st.integers(-(2**63), 2**63 - 1)),
        tombstones=np.array(both[split:], dtype=np.int64),
    )


arrays = st.dictionaries(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20),
    st.sampled_from(sorted(layout.ARRAY_DTYPES)).flatmap(
        lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    ),
    max_size=4,
)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    names = draw(st.lists(st.sampled_from(["item", "user", "_a1"]), unique=True, max_size=3))
    return Content(
        tables=[draw(rows_of(name)) for name in names],
        dense=draw(arrays),
        statistics=draw(arrays),
        dense_optimizer=draw(arrays),
        sample_ids=draw(arrays),
    )


def manifest_of(packs: list[Packed]) -> Manifest:
    return Manifest(
        model="m",
        version=3,
        parent=2,
        base_ref=None,
        kind="delta",
        epoch=1,
        commit_uuid=ATTEMPT,
        attempt=ATTEMPT,
        learner="a",
        positions=(),
        batches=(),
        learned_through=None,
        newest_known_ts=None,
        label_histogram={},
        probes=(),
        timeline=Timeline(),
        metrics={},
        files=tuple(packed.file for packed in packs),
        graph=None,
        feature_spec_hash="",
        gate=Gate(servable=True),
        environment={},
        created_ts=0,
    )


def packed(content: Content, one_file_below: int = 8 << 20) -> list[Packed]:
    return pack(
        content,
        attempt=ATTEMPT,
        key=lambda name: paths.pack_key(3, 1, ATTEMPT, name),
        one_file_below=one_file_below,
    )


def read(packs: list[Packed], *, serving_only: bool = False) -> Delta:
    manifest = Manifest.from_json(manifest_of(packs).to_json())
    files = {}
    for each in packs:
        serving = each.file.serving
        if not serving_only:
            files[each.file.key] = bytes(each.data)
        elif serving is not None:
            files[each.file.key] = bytes(each.data[: serving.bytes])
    return unpack(manifest, files, serving_only=serving_only)


def assert_same(got: Array, wanted: Array) -> None:
    assert (got.dtype.name, got.shape) == (wanted.dtype.name, wanted.shape)
    assert got.tobytes() == np.asarray(wanted, dtype=wanted.dtype.newbyteorder("<")).tobytes()


@settings(max_examples=80, deadline=None)
@given(contents(), st.sampled_from([0, 8 << 20]))
def test_round_trip(content: Content, one_file_below: int) -> None:
    packs = packed(content, one_file_below)
    empty = not (content.tables or content.dense or content.statistics or content.dense_optimizer or content.sample_ids)
    assert (len(packs) == 0) == empty
    back = read(packs)
    for given_rows, rows in zip(content.tables, back.tables, strict=True):
        order = np.argsort(mix64(given_rows.keys))
        gone = np.argsort(mix64(given_rows.tombstones))
        assert rows.table == given_rows.table
        for name in ("keys", "values", "slots", "frequency", "last_seen"):
            assert_same(getattr(rows, name), getattr(given_rows, name)[order])
        assert_same(rows.tombstones, given_rows.tombstones[gone])
    for role in ("dense", "statistics", "dense_optimizer", "sample_ids"):
        assert list(getattr(back, role)) == list(getattr(content, role))
        for name, array in getattr(content, role).items():
            assert_same(getattr(back, role)[name], array)
    serving = read(packs, serving_only=True)
    for rows, all_of_it in zip(serving.tables, back.tables, strict=True):
        assert_same(rows.keys, all_of_it.keys)
        assert_same(rows.values, all_of_it.values)
        assert_same(rows.tombstones, all_of_it.tombstones)
        assert rows.slots.shape == (len(rows.keys), 0)
    assert list(serving.dense) == list(content.dense) and list(serving.statistics) == list(content.statistics)
    assert serving.dense_optimizer == {} and serving.sample_ids == {}


@settings(max_examples=20, deadline=None)
@given(contents())
def test_everything_stands_at_multiples_of_64(content: Content) -> None:
    for each in packed(content, 0):
        ends = layout.HEADER_BYTES
        for part in each.file.ranges:
            assert part.offset == ends and part.offset % 64 == 0 and part.bytes % 64 == 0
            ends += part.bytes
        assert ends == len(each.data) == each.file.bytes


def test_serving_stands_before_state_in_one_file() -> None:
    content = Content(
        tables=[table("a", {1: 1}), table("b", {2: 2})], dense={"w": np.ones(3)}, sample_ids={"h": np.ones(1)}
    )
    (one,) = packed(content)
    assert [part.role for part in one.file.ranges] == ["rows", "rows", "dense", "row_state", "row_state", "sample_ids"]
    assert one.file.serving is not None
    state = next(part for part in one.file.ranges if part.role == "row_state")
    assert one.file.serving.bytes == state.offset


def test_from_8_mib_on_there_are_two_files() -> None:
    small = Content(dense={"w": np.zeros((8 << 20) - 4096, dtype=np.uint8)}, sample_ids={"h": np.zeros(1)})
    large = Content(dense={"w": np.zeros(8 << 20, dtype=np.uint8)}, sample_ids={"h": np.zeros(1)})
    assert [each.file.key.rsplit("/", 1)[1] for each in packed(small)] == ["pack"]
    assert [each.file.key.rsplit("/", 1)[1] for each in packed(large)] == ["serving.pack", "state.pack"]


def test_a_pack_is_a_copy() -> None:
    content = Content(tables=[table("a", {1: 1})])
    packs = packed(content)
    content.tables[0].values[:] = 99
    assert by_key(read(packs).tables[0])[1][0] == (1.0, 1.0)


def test_overhead_of_a_large_delta() -> None:
    """Serving bytes over payload (float32 values and an 8-byte key), dim 16: the target is 1.1."""
    count = 200_000
    rows = TableRows(
        table="item",
        keys=np.arange(count, dtype=np.int64),
        values=np.zeros((count, 16), dtype=np.float32),
        slots=np.zeros((count, 16), dtype=np.float32),
        frequency=np.zeros(count, dtype=np.uint32),
        last_seen=np.zeros(count, dtype=np.int64),
        tombstones=np.array([], dtype=np.int64),
    )
    serving = packed(Content(tables=[rows]))[0].file.serving
    assert serving is not None and serving.bytes / (count * (16 * 4 + 8)) <= 1.02


WRONG: dict[str, Content] = {
    "a key occurs twice": Content(tables=[table("t", {1: 1}, gone=[1])]),
    "rows is|keys is|frequency is": Content(
        tables=[dataclasses.replace(table("t", {1: 1, 2: 2}), frequency=np.ones(1, dtype=np.uint32))]
    ),
    "values is float64": Content(
        tables=[dataclasses.replace(table("t", {1: 1}), values=np.ones((1, 2)))],  # type: ignore[arg-type]
    ),
    "0 values": Content(tables=[table("t", {1: 1}, dim=0)]),
    "table name": Content(tables=[table("../t", {1: 1})]),
    "occurs twice in one commit": Content(tables=[table("t", {1: 1}), table("t", {2: 1})]),
    "is object": Content(dense={"w": np.array([object()])}),
    "is complex64": Content(dense={"w": np.zeros(1, dtype=np.complex64)}),
    "name 'a.nb'": Content(dense={"a\nb": np.zeros(1)}),
    "name ''": Content(dense={"": np.zeros(1)}),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_packed_is_refused(message: str) -> None:
    with pytest.raises(Invalid, match=message):
        packed(WRONG[message])


def test_a_repeated_key_among_rows_is_refused() -> None:
    rows = table("t", {1: 1, 2: 2})
    with pytest.raises(Invalid, match="a key occurs twice"):
        packed(Content(tables=[dataclasses.replace(rows, keys=np.array([5, 5], dtype=np.int64))]))
