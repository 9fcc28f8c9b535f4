"""Datatypes and shapes of the Open Inference Protocol v2 for each kind of column, over REST and gRPC alike."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

from infra.spec import FieldType
from serving.refusals import Refused, shown
from serving.signature import Column

OUTPUT_DATATYPE = "FP32"
LARGEST_SIZE = 1 << 31
INTEGERS = ("INT64", "INT32", "INT16", "INT8", "UINT32", "UINT16", "UINT8")
DATATYPES: dict[FieldType, tuple[str, ...]] = {
    "string": ("BYTES",),
    "integer": INTEGERS,
    "number": ("FP64", "FP32", *INTEGERS),
    "boolean": ("BOOL",),
    "list[string]": ("BYTES",),
    "list[integer]": INTEGERS,
}


def checked_datatype(column: Column, datatype: object) -> str:
    """``datatype``, if tensors of it can be values of ``column``.

    Raises:
        Refused: They cannot.
    """
    known = DATATYPES[column.type]
    if not isinstance(datatype, str) or datatype not in known:
        raise Refused(f"input `{column.name}` has the datatype {shown(datatype)}", wanted=" or ".join(known))
    return datatype


def checked_shape(column: Column, shape: object) -> tuple[int, ...]:
    """``shape``, if a tensor of it holds one value of ``column`` per row.

    Raises:
        Refused: It does not.
    """
    if isinstance(shape, list) and all(type(size) is int and 0 <= size < LARGEST_SIZE for size in shape):
        flat = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
        if len(shape) == 2 if column.is_list else flat:
            return tuple(shape)
    raise Refused(
        f"input `{column.name}` has the shape {shown(shape)}", wanted="[B,n]" if column.is_list else "[B] or [B,1]"
    )


def by_row(column: Column, values: Sequence[object], shape: tuple[int, ...]) -> Sequence[object]:
    """Elements in row-major order as one value per row."""
    if not column.is_list:
        return values
    width = shape[1]
    return [list(values[row * width : (row + 1) * width]) for row in range(shape[0])]
