"""The bytes of packs become rows and arrays, nothing believed that was not checked; must not know stores."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from checkpointing import layout
from checkpointing.content import Array, Delta, no_state
from checkpointing.hash_order import is_member, mix64, strictly_ascending, tags
from checkpointing.link import Source
from checkpointing.packfile import File, Range
from checkpointing.precision import Precision, from_bfloat16, from_int8
from infra.errors import Corrupt, Invalid
from kernels.rows import TableRows

Sections = dict[tuple[str, str], tuple[Array, ...]]


def unpack(source: Source, files: Mapping[str, bytes], *, serving_only: bool) -> Delta:
    """The content of a version, or of one part of a base, from the bytes of its files.

    Args:
        source: What lists the files.
        files: Bytes by key: whole files, or with ``serving_only`` their serving prefixes.
        serving_only: Whether to read only what a replica needs.

    Raises:
        Corrupt: The bytes are not what the manifest names; says file and field.
        Invalid: A pack has a newer format.
    """
    sections: Sections = {}
    precision: dict[str, Precision] = {}
    for file in source.files:
        if not serving_only or file.serving is not None:
            sections |= _open(file, files[file.key], source.attempt, serving_only=serving_only)
            precision |= {part.name: cast(Precision, part.dtype) for part in file.ranges if part.role == "rows"}
    arrays: dict[str, dict[str, Array]] = {}
    tables = []
    for (role, name), blocks in sections.items():
        if role == "rows":
            where = f"version {source.version}, table {name}"
            state = None if serving_only else sections["row_state", name]
            tables.append(_table(name, blocks, precision[name], state, where))
        elif role != "row_state":
            arrays.setdefault(role, {})[name] = blocks[0]
    return Delta(
        source,
        tuple(tables),
        arrays.get("dense", {}),
        arrays.get("statistics", {}),
        precision,
        arrays.get("dense_optimizer", {}),
        arrays.get("sample_ids", {}),
        arrays.get("filter", {}),
    )


def _open(file: File, data: bytes, attempt: str, *, serving_only: bool) -> Sections:
    """Checks one file from the outside in, and returns its blocks by role and name."""
    size, digest = (file.bytes, file.sha256)
    if serving_only and file.serving is not None:
        size, digest = (file.serving.bytes, file.serving.sha256)
    if len(data) != size:
        raise Corrupt(f"{len(data)} bytes", wanted=f"{size} bytes", where=file.key)
    _check_header(file, data, attempt)
    got = hashlib.sha256(data).hexdigest()
    if got != digest:
        raise Corrupt(
            f"checksum is {got}", wanted=digest, cure="restore the object from a copy of the store", where=file.key
        )
    return {
        (part.role, part.name): _section(part, data, file.key)
        for part in file.ranges
        if part.offset + part.bytes <= size
    }


def _check_header(file: File, data: bytes, attempt: str) -> None:
    if len(data) < layout.HEADER_BYTES:
        raise Corrupt(f"{len(data)} bytes are no pack", where=file.key)
    magic, number, parts, size, serving, count, hash_id, got_attempt, zero = layout.FILE_HEADER.unpack_from(data)
    if magic == layout.FILE_MAGIC and number > layout.FORMAT:
        raise Invalid(
            f"pack has format {number}",
            wanted=f"{layout.FORMAT} or older",
            cure="upgrade this program; replicas first, then the learner",
            where=file.key,
        )
    has_state = any(part.role not in layout.SERVING_ROLES for part in file.ranges)
    wanted = {
        "magic": (magic, layout.FILE_MAGIC),
        "format": (min(max(number, 1), layout.FORMAT), number),
        "parts": (
            parts,
            (layout.PART_SERVING if file.serving else 0) | (layout.PART_STATE if has_state else 0),
        ),
        "bytes": (size, file.bytes),
        "serving bytes": (serving, file.serving.bytes if file.serving else 0),
        "sections": (count, len(file.ranges)),
        "hash function": (hash_id, layout.HASH_MIX64),
        "attempt": (got_attempt.hex(), attempt),
        "padding": (zero, bytes(8)),
    }
    _refuse_differences(wanted, file.key)


def _section(part: Range, data: bytes, where: str) -> tuple[Array, ...]:
    # The manifest has checked that the range lies within the file and that its size follows from its shape.
    where = f"{where}, {part.role} {part.name}"
    magic, role, dtype, size, rows, tombstones, columns, name, zero = layout.SECTION_HEADER.unpack_from(
        data, part.offset
    )
    wanted = {
        "magic": (magic, layout.SECTION_MAGIC),
        "role": (role, layout.ROLE_CODES[part.role]),
        "dtype": (dtype, layout.DTYPE_CODES[part.dtype]),
        "bytes": (size, part.bytes),
        "rows": (rows, part.rows),
        "tombstones": (tombstones, part.tombstones),
        "columns": (columns, layout.columns(part.role, part.shape)),
        "name": (name, layout.name_hash(part.name)),
        "padding": (zero, bytes(16)),
    }
    _refuse_differences(wanted, where)
    keys = (part.rows + part.tombstones,)
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    if part.role == "rows":
        stored = "uint16" if part.dtype == "bfloat16" else part.dtype
        scales = (("uint16", (part.rows,)),) if part.dtype == "int8" else ()
        shapes = (("int64", keys), ("uint8", keys), (stored, part.shape), *scales)
    elif part.role == "row_state":
        shapes = (("int64", keys), ("float32", part.shape), ("uint32", (part.rows,)), ("int64", (part.rows,)))
    else:
        shapes = ((part.dtype, part.shape),)
    blocks = []
    at = part.offset + layout.HEADER_BYTES
    sizes = layout.block_bytes(part.role, part.dtype, part.shape, part.tombstones)
    for (block_dtype, shape), block_size in zip(shapes, sizes, strict=True):
        little = np.dtype(block_dtype).newbyteorder("<")
        count = block_size // little.itemsize
        if part.dtype == "bool" and count and np.frombuffer(data, np.uint8, count, at).max() > 1:
            raise Corrupt("a bool is neither 0 nor 1", where=where)
        block = np.frombuffer(data, little, count, at) if count else np.empty(0, little)
        blocks.append(block.reshape(shape))
        at += layout.aligned(block_size)
    return tuple(blocks)


def _refuse_differences(wanted: dict[str, tuple[Any, Any]], where: str) -> None:
    for field, (got, right) in wanted.items():
        if got != right:
            raise Corrupt(f"{field} is {got!r}", wanted=repr(right), where=where)


def _table(
    name: str, rows: tuple[Array, ...], precision: Precision, state: tuple[Array, ...] | None, where: str
) -> TableRows:
    keys, tag_bytes, stored, *scales = rows
    count = len(stored)
    hashes = mix64(keys)
    _check_order(hashes[:count], hashes[count:], tag_bytes, where)
    if state is None:
        return no_state(name, keys[:count], _values(stored, precision, scales), keys[count:])
    state_keys, columns, frequency, last_seen = state
    if not np.array_equal(state_keys, keys):
        raise Corrupt("row_state has other keys than rows", where=where)
    values, slots = stored, columns
    if precision != "float32":
        values, slots = columns[:, : stored.shape[1]], columns[:, stored.shape[1] :]
    return TableRows(
        table=name,
        keys=keys[:count],
        values=values,
        slots=slots,
        frequency=frequency,
        last_seen=last_seen,
        tombstones=keys[count:],
    )


def _values(stored: Array, precision: Precision, scales: list[Array]) -> NDArray[np.float32]:
    if precision == "int8":
        return from_int8(stored, scales[0])
    return from_bfloat16(stored) if precision == "bfloat16" else stored


def _check_order(hashes: NDArray[np.uint64], gone: NDArray[np.uint64], tag_bytes: Array, where: str) -> None:
    if not strictly_ascending(hashes) or not strictly_ascending(gone):
        raise Corrupt("keys do not stand in hash order", where=where)
    both = np.concatenate([tags(hashes, tombstones=False), tags(gone, tombstones=True)])
    if not np.array_equal(both, tag_bytes):
        raise Corrupt("tags do not belong to the keys", where=where)
    if is_member(gone, hashes).any():
        raise Corrupt("a key is row and tombstone at once", where=where)
