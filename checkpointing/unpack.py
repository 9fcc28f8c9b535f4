"""The bytes of packs become rows and arrays, nothing believed that was not checked; must not know stores."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkpointing import layout
from checkpointing.content import Array, Delta, no_state
from checkpointing.hash_order import is_member, mix64, strictly_ascending, tags
from checkpointing.manifest import Manifest
from checkpointing.packfile import File, Range
from infra.errors import Corrupt, Invalid
from kernels.rows import TableRows

Sections = dict[tuple[str, str], tuple[Array, ...]]


def unpack(manifest: Manifest, files: Mapping[str, bytes], *, serving_only: bool) -> Delta:
    """One version's content from the bytes of its files.

    Args:
        manifest: Of the version.
        files: Bytes by key: whole files, or with ``serving_only`` their serving prefixes.
        serving_only: Whether to read only what a replica needs.

    Raises:
        Corrupt: The bytes are not what the manifest names; says file and field.
        Invalid: A pack has a newer format.
    """
    sections: Sections = {}
    for file in manifest.files:
        if not serving_only or file.serving is not None:
            sections |= _open(file, files[file.key], manifest.attempt, serving_only=serving_only)
    arrays: dict[str, dict[str, Array]] = {}
    tables = []
    for (role, name), blocks in sections.items():
        if role == "rows":
            where = f"version {manifest.version}, table {name}"
            tables.append(_table(name, blocks, None if serving_only else sections["row_state", name], where))
        elif role != "row_state":
            arrays.setdefault(role, {})[name] = blocks[0]
    return Delta(
        manifest,
        tuple(tables),
        arrays.get("dense", {}),
        arrays.get("statistics", {}),
        arrays.get("dense_optimizer", {}),
        arrays.get("sample_ids", {}),
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
        "format": (number, layout.FORMAT),
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
        shapes = (("int64", keys), ("uint8", keys), ("float32", part.shape))
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


def _table(name: str, rows: tuple[Array, ...], state: tuple[Array, ...] | None, where: str) -> TableRows:
    keys, tag_bytes, values = rows
    count = len(values)
    hashes = mix64(keys)
    _check_order(hashes[:count], hashes[count:], tag_bytes, where)
    if state is None:
        return no_state(name, keys[:count], values, keys[count:])
    state_keys, slots, frequency, last_seen = state
    if not np.array_equal(state_keys, keys):
        raise Corrupt("row_state has other keys than rows", where=where)
    return TableRows(
        table=name,
        keys=keys[:count],
        values=values,
        slots=slots,
        frequency=frequency,
        last_seen=last_seen,
        tombstones=keys[count:],
    )


def _check_order(hashes: NDArray[np.uint64], gone: NDArray[np.uint64], tag_bytes: Array, where: str) -> None:
    if not strictly_ascending(hashes) or not strictly_ascending(gone):
        raise Corrupt("keys do not stand in hash order", where=where)
    both = np.concatenate([tags(hashes, tombstones=False), tags(gone, tombstones=True)])
    if not np.array_equal(both, tag_bytes):
        raise Corrupt("tags do not belong to the keys", where=where)
    if is_member(gone, hashes).any():
        raise Corrupt("a key is row and tombstone at once", where=where)
