"""Where bytes stand in a pack: roles, dtypes, headers and block sizes of FORMAT.md 3; moves no byte itself."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import math
import struct
from typing import Final, Literal

FORMAT: Final = 2
ALIGNMENT: Final = 64
HEADER_BYTES: Final = 64
FILE_MAGIC: Final = b"SPRTPACK"
SECTION_MAGIC: Final = b"SECT"
HASH_MIX64: Final = 1
PART_SERVING: Final = 1
PART_STATE: Final = 2

# magic, format, parts, bytes, serving bytes, sections, hash, attempt, zero
FILE_HEADER: Final = struct.Struct("<8sIIQQII16s8s")
# magic, role, dtype, bytes, rows, tombstones, columns, name hash, zero
SECTION_HEADER: Final = struct.Struct("<4sHHQQQQ8s16s")

Role = Literal["rows", "dense", "statistics", "row_state", "dense_optimizer", "sample_ids", "filter"]
ROLE_CODES: Final[dict[str, int]] = {
    "rows": 1,
    "dense": 2,
    "statistics": 3,
    "row_state": 4,
    "dense_optimizer": 5,
    "sample_ids": 6,
    "filter": 7,
}
SERVING_ROLES: Final = frozenset({"rows", "dense", "statistics"})
ROW_ROLES: Final = frozenset({"rows", "row_state"})

# Those that numpy has too.
NumpyDtype = Literal[
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
]
Dtype = Literal[NumpyDtype, "bfloat16"]
ITEM_BYTES: Final[dict[str, int]] = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "bfloat16": 2,
}
DTYPE_CODES: Final[dict[str, int]] = {name: code for code, name in enumerate(ITEM_BYTES, start=1)}

# What the values of rows may be; no array is a bfloat16.
ROW_DTYPES: Final = frozenset({"float32", "bfloat16", "int8"})
ARRAY_DTYPES: Final = frozenset(ITEM_BYTES) - {"bfloat16"}
SCALE_BYTES: Final = 2

# No honest array comes near these; they keep every product below within 2^63.
MAX_RANK: Final = 8
MAX_ELEMENTS: Final = 1 << 40
MAX_COLUMNS: Final = 1 << 20


def aligned(size: int) -> int:
    """``size`` rounded up to the next multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def name_hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:8]


def shape_is_sane(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape can be meant, even an empty one."""
    return (
        len(shape) <= MAX_RANK
        and all(size >= 0 for size in shape)
        and math.prod(max(size, 1) for size in shape) <= MAX_ELEMENTS
    )


def block_bytes(role: str, dtype: str, shape: tuple[int, ...], tombstones: int) -> tuple[int, ...]:
    """Sizes in bytes, without padding, of the blocks of a section, in their order.

    Args:
        role: One of :data:`ROLE_CODES`.
        dtype: One of :data:`ITEM_BYTES`.
        shape: ``[rows, columns]`` for rows and their state, else the array's own.
        tombstones: Deleted keys, for rows and their state.
    """
    body = math.prod(shape) * ITEM_BYTES[dtype]
    if role == "rows":
        keys = shape[0] + tombstones
        return (keys * 8, keys, body, *((shape[0] * SCALE_BYTES,) if dtype == "int8" else ()))
    if role == "row_state":
        return (shape[0] + tombstones) * 8, body, shape[0] * 4, shape[0] * 8
    return (body,)


def section_bytes(role: str, dtype: str, shape: tuple[int, ...], tombstones: int) -> int:
    """Bytes of a whole section, header and padding included."""
    return HEADER_BYTES + sum(aligned(size) for size in block_bytes(role, dtype, shape, tombstones))


def columns(role: str, shape: tuple[int, ...]) -> int:
    """What the section header says about width: dim, slots, or the number of an array's elements."""
    return shape[1] if role in ROW_ROLES else math.prod(shape)
