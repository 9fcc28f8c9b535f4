"""Reads the binary tensor extension of the Open Inference Protocol v2; knows one tensor at a time.

A body is the JSON part, as long as the header `Inference-Header-Content-Length` says, then the bytes of each input
that has `binary_data_size`, in the order of the inputs: little-endian, row-major; a BYTES element is its length in
four bytes and then its bytes.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from serving.refusals import Refused, shown
from serving.signature import Column, arrow_column, check_finite

NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
INT64 = pa.int64()
INTEGER: Final = np.dtype("<i8")
LENGTH = struct.Struct("<I")


class Tail:
    """The bytes after the JSON part, handed out in the order of the inputs."""

    def __init__(self, body: bytes) -> None:
        self._left = memoryview(body)

    def take(self, name: str, size: int) -> memoryview:
        """The next ``size`` bytes, which belong to input ``name``.

        Raises:
            Refused: Fewer are left.
        """
        if size > len(self._left):
            raise Refused(f"input `{name}` has {len(self._left)} binary bytes left", wanted=f"{size} bytes")
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    @property
    def size(self) -> int:
        """Bytes that are left."""
        return len(self._left)

    def integers(self, places: Iterable[tuple[str, int, int]]) -> dict[str, npt.NDArray[np.int64]]:
        """Integers of eight bytes where they lie, by name; ``places`` are names, how many, and where they begin."""
        left = self._left
        return {name: np.frombuffer(left, INTEGER, count, begin) for name, count, begin in places}

    def check_empty(self) -> None:
        """Refuses bytes that belong to no input."""
        if len(self._left):
            raise Refused(f"{len(self._left)} binary bytes belong to no input", wanted="the sum of binary_data_size")


def split(body: bytes, header_length: str | None) -> tuple[bytes, Tail]:
    """The JSON part and what follows it.

    Args:
        body: The whole body.
        header_length: Value of `Inference-Header-Content-Length`; None where all of the body is JSON.

    Raises:
        Refused: The length is no number or longer than the body.
    """
    if header_length is None:
        return body, Tail(b"")
    digits = header_length.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 16) or int(digits) > len(body):
        raise Refused(
            f"Inference-Header-Content-Length is {shown(header_length)}", wanted=f"a number up to {len(body)}"
        )
    return body[: int(digits)], Tail(body[int(digits) :])


def read_tensor(column: Column, datatype: str, shape: tuple[int, ...], data: memoryview) -> pa.Array:
    """A binary tensor as an Arrow array of the column's type.

    Args:
        column: The column that the tensor is for.
        datatype: Its datatype, one that the column takes.
        shape: [B], [B,1] or, for a list column, [B,n].
        data: Exactly the tensor's bytes.

    Raises:
        Refused: The bytes do not hold such a tensor.
    """
    count = math.prod(shape)
    if datatype == "BYTES":
        texts = _read_texts(column, count, data)
        width = shape[1] if column.is_list else 0
        rows = [texts[row * width : (row + 1) * width] for row in range(shape[0])] if column.is_list else texts
        return arrow_column(column, rows)
    numpy_type = NUMPY_TYPES[datatype]
    if len(data) != count * numpy_type.itemsize:
        raise Refused(
            f"input `{column.name}` has {len(data)} binary bytes",
            wanted=f"{count * numpy_type.itemsize} for {datatype} {list(shape)}",
        )
    if datatype == "INT64" and column.type == "integer":
        # Bytes that came as they are needed stay where they are.
        buffer = pa.py_buffer(data)
        if buffer.address % numpy_type.alignment == 0:
            return pa.Array.from_buffers(INT64, count, [None, buffer], 0)
    numbers = np.frombuffer(data, dtype=numpy_type)
    if column.type == "number":
        numbers = numbers.astype(np.float64)
        check_finite(column, numbers)
    elif column.type == "boolean":
        numbers = numbers.view(np.uint8) != 0
    else:
        numbers = numbers.astype(np.int64)
    if not column.is_list:
        return pa.array(numbers, type=column.arrow_type)
    offsets = np.arange(shape[0] + 1, dtype=np.int64) * shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets, type=pa.int32()), pa.array(numbers, type=pa.int64()))


def _read_texts(column: Column, count: int, data: memoryview) -> list[object]:
    texts: list[object] = []
    at = 0
    for _ in range(count):
        if at + LENGTH.size > len(data):
            break
        (size,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        if at + size > len(data):
            break
        try:
            texts.append(str(data[at : at + size], "utf-8"))
        except UnicodeDecodeError as error:
            raise Refused(f"input `{column.name}`, value {len(texts)}: {error}", wanted="UTF-8") from error
        at += size
    if len(texts) != count or at != len(data):
        raise Refused(
            f"input `{column.name}`: {len(data)} binary bytes do not hold {count} elements",
            wanted="per element its length in four little-endian bytes, then its bytes",
        )
    return texts
