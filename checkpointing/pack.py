"""Content becomes the bytes of one or two packs; must not know stores, and reads no pack."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkpointing import layout
from checkpointing.content import Array, Content, NamedArrays
from checkpointing.hash_order import ascending, is_member, mix64, strictly_ascending, tags
from checkpointing.packfile import TABLE_NAME, File, Prefix, Range
from checkpointing.paths import PackName
from checkpointing.precision import Precision, to_bfloat16, to_int8
from infra.errors import Invalid
from kernels.rows import TableRows

# Below this, both parts together go into one file.
ONE_FILE_BELOW: Final = 8 << 20


@dataclass(frozen=True)
class Packed:
    """A file to upload, and what the manifest says about it."""

    file: File
    data: bytearray


@dataclass(frozen=True)
class _Section:
    """A section before its place is known: each block is an array and the order of its rows, None as it stands."""

    role: layout.Role
    name: str
    dtype: layout.Dtype
    shape: tuple[int, ...]
    rows: int
    tombstones: int
    blocks: tuple[tuple[Array, NDArray[np.intp] | None], ...]

    @property
    def size(self) -> int:
        return layout.section_bytes(self.role, self.dtype, self.shape, self.tombstones)


def pack(
    content: Content, *, attempt: str, key: Callable[[PackName], str], one_file_below: int = ONE_FILE_BELOW
) -> list[Packed]:
    """The files of one commit, copied out of ``content``: none, ``pack``, or ``serving.pack`` and ``state.pack``.

    Args:
        content: Rows and arrays.
        attempt: For the headers.
        key: Names the files.
        one_file_below: Bytes of both parts together from which on there are two files.

    Raises:
        Invalid: The content is not what FORMAT.md can hold, such as a key that occurs twice in a table.
    """
    serving: list[_Section] = []
    state: list[_Section] = []
    for rows in content.tables:
        of_rows, of_state = _table(rows, content.precision.get(rows.table, "float32"))
        serving.append(of_rows)
        state.append(of_state)
    serving += _arrays("dense", content.dense) + _arrays("statistics", content.statistics)
    state += _arrays("dense_optimizer", content.dense_optimizer) + _arrays("sample_ids", content.sample_ids)
    state += _arrays("filter", content.filters)
    _refuse_repeats(serving + state)
    if not serving and not state:
        return []
    if 2 * layout.HEADER_BYTES + sum(section.size for section in serving + state) < one_file_below:
        return [_build(key("pack"), serving, state, attempt)]
    files = []
    if serving:
        files.append(_build(key("serving.pack"), serving, [], attempt))
    if state:
        files.append(_build(key("state.pack"), None, state, attempt))
    return files


def _build(key: str, serving: list[_Section] | None, state: list[_Section], attempt: str) -> Packed:
    sections = (serving or []) + state
    total = layout.HEADER_BYTES + sum(section.size for section in sections)
    prefix = 0 if serving is None else layout.HEADER_BYTES + sum(section.size for section in serving)
    parts = (layout.PART_SERVING if serving is not None else 0) | (layout.PART_STATE if state else 0)
    data = bytearray(total)
    layout.FILE_HEADER.pack_into(
        data,
        0,
        layout.FILE_MAGIC,
        layout.FORMAT,
        parts,
        total,
        prefix,
        len(sections),
        layout.HASH_MIX64,
        bytes.fromhex(attempt),
        bytes(8),
    )
    ranges = []
    at = layout.HEADER_BYTES
    for section in sections:
        _write(section, data, at)
        ranges.append(
            Range(
                role=section.role,
                name=section.name,
                offset=at,
                bytes=section.size,
                rows=section.rows,
                tombstones=section.tombstones,
                dtype=section.dtype,
                shape=section.shape,
            )
        )
        at += section.size
    return _described(data, key, tuple(ranges), None if serving is None else prefix)


def _described(data: bytearray, key: str, ranges: tuple[Range, ...], serving: int | None) -> Packed:
    digest = hashlib.sha256(memoryview(data)[: serving or 0])
    head = None if serving is None else Prefix(bytes=serving, sha256=digest.hexdigest())
    digest.update(memoryview(data)[serving or 0 :])  # one pass gives both checksums
    return Packed(File(key=key, bytes=len(data), sha256=digest.hexdigest(), serving=head, ranges=ranges), data)


def _write(section: _Section, data: bytearray, at: int) -> None:
    layout.SECTION_HEADER.pack_into(
        data,
        at,
        layout.SECTION_MAGIC,
        layout.ROLE_CODES[section.role],
        layout.DTYPE_CODES[section.dtype],
        section.size,
        section.rows,
        section.tombstones,
        layout.columns(section.role, section.shape),
        layout.name_hash(section.name),
        bytes(16),
    )
    at += layout.HEADER_BYTES
    for array, order in section.blocks:
        if array.nbytes:
            target = np.frombuffer(data, dtype=array.dtype, count=array.size, offset=at).reshape(array.shape)
            if order is None:
                target[...] = array
            else:  # mode "clip" lets take write straight into the pack; every index is valid
                np.take(array, order, axis=0, out=target, mode="clip")
        at += layout.aligned(array.nbytes)


def _table(table: TableRows, precision: Precision) -> tuple[_Section, _Section]:
    _check_table(table)
    hashes, gone = mix64(table.keys), mix64(table.tombstones)
    order, gone_order = ascending(hashes), ascending(gone)
    hashes, gone = hashes[order], gone[gone_order]
    if not (strictly_ascending(hashes) and strictly_ascending(gone)) or is_member(gone, hashes).any():
        raise Invalid(
            f"table `{table.table}`: a key occurs twice in one commit",
            wanted="each key once, as a row or as a tombstone",
            where="content",
        )
    keys = np.concatenate([table.keys[order], table.tombstones[gone_order]])
    tag_bytes = np.concatenate([tags(hashes, tombstones=False), tags(gone, tombstones=True)])
    rows, tombstones = len(table.keys), len(table.tombstones)
    values, slots = _stored(table.values, precision), table.slots
    if precision != "float32":  # what replicas get is not enough to go on training from
        slots = np.concatenate([table.values, table.slots], axis=1)
    of_rows = _Section(
        "rows",
        table.table,
        precision,
        table.values.shape,
        rows,
        tombstones,
        ((keys, None), (tag_bytes, None), *((block, order) for block in values)),
    )
    of_state = _Section(
        "row_state",
        table.table,
        "float32",
        (rows, slots.shape[1]),
        rows,
        tombstones,
        ((keys, None), (slots, order), (table.frequency, order), (table.last_seen, order)),
    )
    return of_rows, of_state


def _stored(values: NDArray[np.float32], precision: Precision) -> tuple[Array, ...]:
    if precision == "bfloat16":
        return (to_bfloat16(values),)
    return to_int8(values) if precision == "int8" else (values,)


def _check_table(table: TableRows) -> None:
    if not re.fullmatch(TABLE_NAME, table.table):
        raise Invalid(f"table name {table.table!r}", wanted=TABLE_NAME, where="content")
    rows = len(table.keys)
    wanted: dict[str, tuple[Any, int, int | None]] = {
        "keys": (np.int64, 1, rows),
        "values": (np.float32, 2, rows),
        "slots": (np.float32, 2, rows),
        "frequency": (np.uint32, 1, rows),
        "last_seen": (np.int64, 1, rows),
        "tombstones": (np.int64, 1, None),
    }
    for name, (dtype, rank, length) in wanted.items():
        array = getattr(table, name)
        if array.dtype != dtype or array.ndim != rank or (length is not None and len(array) != length):
            raise Invalid(
                f"table `{table.table}`: {name} is {array.dtype} {list(array.shape)}",
                wanted=f"{np.dtype(dtype).name} of rank {rank}" + ("" if length is None else f" with {length} rows"),
                where="content",
            )
    if not 1 <= table.values.shape[1] <= layout.MAX_COLUMNS or table.slots.shape[1] > layout.MAX_COLUMNS:
        raise Invalid(
            f"table `{table.table}`: {table.values.shape[1]} values and {table.slots.shape[1]} slots a row",
            wanted=f"1 to {layout.MAX_COLUMNS} values",
            where="content",
        )


def _arrays(role: layout.Role, arrays: NamedArrays) -> list[_Section]:
    sections = []
    for name, given in arrays.items():
        array = np.asarray(given)
        dtype = array.dtype.name
        if dtype not in layout.ARRAY_DTYPES or not layout.shape_is_sane(array.shape):
            raise Invalid(
                f"{role} {name!r} is {dtype} {list(array.shape)}",
                wanted=f"an array of {', '.join(sorted(layout.ARRAY_DTYPES))}",
                where="content",
            )
        if not re.fullmatch(r"[^\x00-\x1f\x7f]{1,255}", name):
            raise Invalid(f"{role} name {name!r}", wanted="1 to 255 characters, no control characters", where="content")
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        sections.append(_Section(role, name, array.dtype.name, array.shape, 0, 0, ((little, None),)))  # type: ignore[arg-type]
    return sections


def _refuse_repeats(sections: Iterable[_Section]) -> None:
    seen = set()
    for section in sections:
        if (section.role, section.name) in seen:
            raise Invalid(f"{section.role} {section.name!r} occurs twice in one commit", wanted="once", where="content")
        seen.add((section.role, section.name))
