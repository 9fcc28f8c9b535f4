"""What turns gathered rows into predictions, here and in another process; knows no graph, no tables and no request.

A program that LiteRT runs travels as the flatbuffers with the version's weights in them: who takes it over converts
nothing and needs no graph.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from serving.lite_program import Converted, LiteProgram, RecentSizes
from serving.shared_rows import Split

Rows = npt.NDArray[np.float32]


class Program(Protocol):
    """The dense program of one version, for any number of threads."""

    def predict(self, rows: Rows, *, shared: bool = False) -> Rows:
        """Predictions of gathered rows.

        Args:
            rows: ``[candidates, stride]`` float32, contiguous.
            shared: Whether the columns that the program was told to be shared are the same in all rows.

        Returns:
            ``[candidates, labels]`` float32.
        """

    @property
    def looked_up(self) -> Halves | None:
        """The program in halves, where its rows may be looked up in halves, too."""


@dataclass(frozen=True, eq=False)
class Halves:
    """A program whose first layers are split.

    Attributes:
        split: How.
        once: Per first layer what meets the shared columns, ``[s, n]``.
        rest: The program of the other columns.
    """

    split: Split
    once: list[Rows]
    rest: LiteProgram

    def predict(self, rows: Rows, *, asked: bool = True) -> Rows:
        """Predictions of rows whose shared columns are the same."""
        return self.rest.predict(self.split.rest(rows), self._once(rows[0].take(self.split.shared)), asked=asked)

    def predict_looked_up(self, rows: int, lookup: Callable[[Rows, Rows], None]) -> Rows:
        """Predictions of rows that never stand whole anywhere; only where ``split.own_only``.

        Args:
            rows: How many.
            lookup: Fills ``[rows, columns]`` with the rows without what they share, and ``[s]`` with that.
        """

        def fill(own: Rows) -> list[Rows]:
            shared = np.empty(len(self.split.shared), np.float32)
            lookup(own, shared)
            return self._once(shared)

        return self.rest.predict_filled(rows, fill)

    def _once(self, shared: Rows) -> list[Rows]:
        row = shared[np.newaxis]
        return [row @ weight for weight in self.once]


@dataclass(frozen=True, eq=False)
class PortableProgram:
    """A :class:`LitePair` as it travels.

    Attributes:
        graph: The graph's hash: versions of one graph are asked for the same numbers of rows.
        whole: The whole program.
        split: How it is split, what meets the shared columns, and the program of the rest.
    """

    graph: str
    whole: Converted
    split: tuple[Split, list[Rows], Converted] | None


@dataclass(frozen=True, eq=False)
class LitePair:
    """A whole program and, where its first layers can be split, the same in halves."""

    whole: LiteProgram
    halves: Halves | None

    def predict(self, rows: Rows, *, shared: bool = False, asked: bool = True) -> Rows:
        """See :class:`Program`; ``asked`` as in :meth:`serving.lite_program.LiteProgram.predict`."""
        if shared and self.halves is not None and len(rows):
            return self.halves.predict(rows, asked=asked)
        return self.whole.predict(rows, asked=asked)

    @property
    def looked_up(self) -> Halves | None:
        """See :class:`Program`."""
        return self.halves if self.halves is not None and self.halves.split.own_only else None

    def portable(self, graph: str) -> PortableProgram:
        """The same as it travels; ``graph`` is the graph's hash."""
        halves = self.halves
        split = None if halves is None else (halves.split, halves.once, halves.rest.converted)
        return PortableProgram(graph, self.whole.converted, split)

    @classmethod
    def arrived(cls, program: PortableProgram, sizes: RecentSizes, split_sizes: RecentSizes) -> LitePair:
        """What travelled, made ready for the numbers of rows that versions of its graph were asked for here."""
        whole = LiteProgram(program.whole, sizes)
        if program.split is None:
            return cls(whole, None)
        split, once, rest = program.split
        return cls(whole, Halves(split, once, LiteProgram(rest, split_sizes)))
