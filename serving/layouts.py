"""Remembers what the JSON parts of binary requests say, so that equal ones are read once; knows no values and no HTTP.

Who asks by binary tensors sends the same JSON part again and again: names, types, shapes and sizes. Reading and
checking it costs more than the tensors do.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from serving.signature import Column

# Clients of one replica have a few forms between them: one per number of candidates.
MOST_LAYOUTS: Final = 64
# Larger ones are read each time, so that what is remembered stays small.
LARGEST_HEADER: Final = 1 << 16


@dataclass(frozen=True)
class Tensor:
    """A binary input, its bytes still to be read.

    Attributes:
        column: What it is for.
        datatype: Of the protocol, one that the column takes.
        shape: [B], [B,1] or, for a list column, [B,n].
        bytes: How many it has.
    """

    column: Column
    datatype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def plain(self) -> bool:
        """Whether it holds, as it should, one integer of eight bytes for each row."""
        flat = self.datatype == "INT64" and not self.column.is_list
        return flat and self.column.type == "integer" and self.bytes == 8 * self.shape[0]


@dataclass(frozen=True)
class Layout:
    """A JSON part that was found good, of a request whose inputs are all binary.

    Attributes:
        tensors: In the order of their bytes.
        rows: Candidates.
        shared: Columns whose one value holds for every candidate.
        id: See :class:`serving.protocol_v2.Infer`, as the two that follow.
        outputs: Labels.
        in_binary: Labels.
    """

    tensors: tuple[Tensor, ...]
    rows: int
    shared: frozenset[str]
    id: str | None
    outputs: tuple[str, ...]
    in_binary: frozenset[str]

    @cached_property
    def plain(self) -> tuple[tuple[str, int, int], ...] | None:
        """Per tensor name, values and where its bytes begin, where all are plain; None otherwise."""
        ends = list(itertools.accumulate(tensor.bytes for tensor in self.tensors))
        if not all(tensor.plain for tensor in self.tensors):
            return None
        begins = [0, *ends[:-1]]
        return tuple(
            (tensor.column.name, tensor.shape[0], begin) for tensor, begin in zip(self.tensors, begins, strict=True)
        )

    @cached_property
    def bytes(self) -> int:
        """Of all tensors."""
        return sum(tensor.bytes for tensor in self.tensors)


class Layouts:
    """The layouts found last, of one signature; for several threads."""

    def __init__(self) -> None:
        self._layouts: OrderedDict[bytes, Layout] = OrderedDict()

    def get(self, header: bytes) -> Layout | None:
        """What an equal JSON part said before; None where it is not known."""
        return self._layouts.get(header)

    def put(self, header: bytes, layout: Layout) -> None:
        """Remembers it; the oldest gives way."""
        if len(header) <= LARGEST_HEADER:
            self._layouts[header] = layout
            if len(self._layouts) > MOST_LAYOUTS:
                self._layouts.popitem(last=False)
