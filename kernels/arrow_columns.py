"""Arrow columns to ids and numbers, straight from their buffers; must not know features by name nor what ids mean."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kernels import _core

ID_TYPES = "string, integer, list of string or list of integer"
NUMBER_TYPES = "integer, floating point or boolean"
MOST_IDS = 2**31 - 1


def as_one_array(column: Any) -> pa.Array:
    """A chunked array as one array, a dictionary array as its values; anything but Arrow is refused.

    Raises:
        TypeError: Not an Arrow array.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
    if not isinstance(column, pa.Array):
        raise TypeError(f"got {type(column).__name__}; wanted a pyarrow Array or ChunkedArray")
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are hashed as bytes."""
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Whether a value of this type may hold several ids."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def hash_text(column: pa.Array | pa.ChunkedArray, what: str) -> NDArray[np.int64]:
    """XXH64, seed 0, of the bytes of each string, as int64 [n]; nulls give a value that means nothing.

    Raises:
        ValueError: Not strings.
    """
    array = as_one_array(column)
    if not is_text(array.type):
        raise ValueError(f"{what}: got {array.type}; wanted string")
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    _, offsets, data = array.buffers()
    count = len(array)
    if count == 0:
        return np.empty(0, np.int64)
    bytes_ = np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
    window = slice(array.offset, array.offset + count + 1)
    if wide:
        return _core.hash_strings(np.frombuffer(offsets, np.int64)[window], bytes_)
    return _core.hash_strings(np.frombuffer(offsets, np.int32)[window], bytes_)


def _flat_ids(array: pa.Array) -> NDArray[np.int64]:
    """Ids of a column that is not a list, int64 [n], nulls included as values that mean nothing."""
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.int64)
    if is_text(kind):
        return hash_text(array, "ids")
    if pa.types.is_integer(kind):
        if array.null_count:
            array = array.fill_null(0)
        # Unsigned 64-bit keys above int64 keep their bits.
        return np.ascontiguousarray(array.to_numpy(zero_copy_only=False)).astype(np.int64, copy=False)
    raise TypeError(f"got {kind}; wanted {ID_TYPES}")


def _valid(array: pa.Array) -> NDArray[np.bool_]:
    return cast("NDArray[np.bool_]", array.is_valid().to_numpy(zero_copy_only=False))


def ids_of(column: Any) -> tuple[NDArray[np.int64], NDArray[np.int32] | None]:
    """Ids and splits of one column: strings are hashed, integers are keys as they are, nulls are no ids.

    Returns:
        ids int64 [occurrences] and splits int32 [rows + 1], or None where every row has exactly one id.

    Raises:
        TypeError: A type that holds no ids.
        ValueError: More than 2^31 - 1 ids.
    """
    if type(column) is pa.Int64Array and column.null_count == 0:
        # Nearly every column of a request; what follows asks six times what it is.
        return column.to_numpy(), None
    array = as_one_array(column)
    if is_list(array.type):
        return _list_ids(array)
    ids = _flat_ids(array)
    if array.null_count == 0:
        return ids, None
    valid = _valid(array)
    splits = np.zeros(len(array) + 1, np.int32)
    np.cumsum(valid, out=splits[1:])
    return ids[valid], splits


def _list_ids(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    if pa.types.is_fixed_size_list(array.type):
        # A null keeps its places in a list of fixed size; casting gives it none.
        array = array.cast(pa.list_(array.type.value_type))
    if not (is_text(array.type.value_type) or pa.types.is_integer(array.type.value_type)) and not pa.types.is_null(
        array.type.value_type
    ):
        raise TypeError(f"got {array.type}; wanted {ID_TYPES}")
    rows = len(array)
    if rows == 0:
        return np.empty(0, np.int64), np.zeros(1, np.int32)
    bounds = array.offsets.to_numpy().astype(np.int64)
    values = as_one_array(array.values.slice(bounds[0], bounds[-1] - bounds[0]))
    bounds -= bounds[0]
    if bounds[-1] > MOST_IDS:
        raise ValueError(f"{bounds[-1]} ids in one column; wanted at most {MOST_IDS}")
    ids = _flat_ids(values)
    if array.null_count == 0 and values.null_count == 0:
        return ids, bounds.astype(np.int32)
    # A null list may cover values all the same; they are not its ids.
    keep = _valid(values) & np.repeat(_valid(array), np.diff(bounds))
    kept_before = np.zeros(len(keep) + 1, np.int32)
    np.cumsum(keep, out=kept_before[1:])
    return ids[keep], kept_before[bounds]


def numbers_of(column: Any) -> tuple[NDArray[np.float64], int]:
    """Values of one number column, float64 [n], NaN where missing; booleans are 0 and 1.

    Returns:
        The values, and how many were NaN or infinite without being null. Those are missing, too.

    Raises:
        TypeError: A type that holds no numbers.
    """
    array = as_one_array(column)
    kind = array.type
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan), 0
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise TypeError(f"got {kind}; wanted {NUMBER_TYPES}")
    if pa.types.is_float16(kind):
        array = pa.array(array.to_numpy(zero_copy_only=False).astype(np.float32), mask=~_valid(array))
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
    finite = np.isfinite(values)
    values[~finite] = np.nan
    return values, len(values) - int(np.count_nonzero(finite)) - array.null_count
