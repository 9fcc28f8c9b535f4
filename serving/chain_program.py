"""Runs a program whose chain of layers the matrix unit takes, LiteRT what is before and behind it; knows no graph."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernels.dense_layers import DenseLayer, DenseLayers
from serving.lite_program import Converted, LiteProgram, RecentSizes
from serving.shared_rows import met_once

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PortableChain:
    """A program in parts, with a version's weights in them.

    Attributes:
        layers: The chain.
        own: Columns of the rows that it takes, int64 ``[n]``; None where it takes them all.
        shared: What meets the shared numbers in its first layer, ``[s, n]``; None in a program of whole rows.
        sigmoid: Whether it ends with one.
        parts: Of each number, 2 or 3 (:class:`kernels.dense_layers.DenseLayers`).
        head: Makes the chain's rows of the program's; None where they are the same.
        tail: Makes the predictions of the rows, if it reads them, of what the chain has made, and of what ``once``
            makes of the shared numbers; None where the chain makes them itself.
        reads_rows: Whether the tail reads the rows.
        once: What meets the shared numbers in other first layers, each ``[s, n]``.
    """

    layers: tuple[DenseLayer, ...]
    own: npt.NDArray[np.int64] | None
    shared: Rows | None
    sigmoid: bool
    parts: int
    head: Converted | None
    tail: Converted | None
    reads_rows: bool
    once: tuple[Rows, ...]


class ChainProgram:
    """One version's program; may be called from many threads."""

    def __init__(self, portable: PortableChain, sizes: RecentSizes) -> None:
        """Makes ready for the sizes asked for lately.

        Args:
            portable: The program.
            sizes: Shared by all versions of the graph.

        Raises:
            RuntimeError: There is no matrix unit here, or LiteRT does not take a part.
            ValueError: The parts do not fit each other.
        """
        self._own = portable.own
        self._reads_rows = portable.reads_rows
        self._met = portable.once
        self._layers = DenseLayers(portable.layers, portable.shared, sigmoid=portable.sigmoid, parts=portable.parts)
        self._head = None if portable.head is None else LiteProgram(portable.head, sizes)
        self._tail = None if portable.tail is None else LiteProgram(portable.tail, sizes)

    def predict(self, rows: Rows, shared: Rows | None = None, *, asked: bool = True) -> Rows:
        """Predictions ``[rows, labels]``.

        Args:
            rows: ``[rows, columns]`` float32, contiguous.
            shared: What they share, ``[s]``, of a program in halves.
            asked: As of :meth:`serving.lite_program.LiteProgram.predict`.
        """
        entry = rows if self._head is None else self._head.predict([rows], asked=asked)
        if self._own is not None:
            entry = entry.take(self._own, axis=1)
        found = self._layers.run(entry, shared)
        if self._tail is None:
            return found
        before = [rows, found] if self._reads_rows else [found]
        return self._tail.predict([*before, *met_once(shared, self._met)], asked=asked)

    def predict_looked_up(self, rows: int, own: int, shared: int, lookup: Callable[[Rows, Rows], None]) -> Rows:
        """As :meth:`serving.program.Halves.predict_looked_up`; ``own`` and ``shared`` are how many numbers of a row."""
        common = np.empty(shared, np.float32)
        if self._tail is None or not self._reads_rows:
            entry = np.empty((rows, own), np.float32)
            lookup(entry, common)
            return self.predict(entry, common)

        def fill(entry: Rows) -> Sequence[Rows]:
            lookup(entry, common)
            return [self._layers.run(entry, common), *met_once(common, self._met)]

        return self._tail.predict_filled(rows, fill)
