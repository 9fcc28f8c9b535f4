"""What turns gathered rows into predictions, here and in another process; knows no graph, no tables and no request.

A program that runs without TensorFlow travels as the flatbuffers and layers with the version's weights in them: who
takes it over converts nothing and needs no graph.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from serving.chain_program import ChainProgram, PortableChain
from serving.lite_program import Converted, LiteProgram, RecentSizes
from serving.shared_rows import Split, met_once

Rows = npt.NDArray[np.float32]
Lookup = Callable[[Rows, Rows], None]


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


class Forward(Protocol):
    """What computes a program, or the rest of one whose first layers are split."""

    def predict(self, rows: Rows, shared: Rows | None = None, *, asked: bool = True) -> Rows:
        """See :meth:`serving.chain_program.ChainProgram.predict`."""

    def predict_looked_up(self, rows: int, own: int, shared: int, lookup: Lookup) -> Rows:
        """See :meth:`serving.chain_program.ChainProgram.predict_looked_up`."""


@dataclass(frozen=True, eq=False)
class LiteForward:
    """A program that LiteRT runs; ``once`` is what meets the shared numbers in each first layer that is split."""

    program: LiteProgram
    once: Sequence[Rows] = ()

    def predict(self, rows: Rows, shared: Rows | None = None, *, asked: bool = True) -> Rows:
        """See :class:`Forward`."""
        return self.program.predict([rows, *met_once(shared, self.once)], asked=asked)

    def predict_looked_up(self, rows: int, own: int, shared: int, lookup: Lookup) -> Rows:
        """See :class:`Forward`."""

        def fill(entry: Rows) -> list[Rows]:
            common = np.empty(shared, np.float32)
            lookup(entry, common)
            return met_once(common, self.once)

        return self.program.predict_filled(rows, fill)


@dataclass(frozen=True, eq=False)
class Halves:
    """A program whose first layers are split: how, and the program of what is left."""

    split: Split
    rest: Forward

    def predict(self, rows: Rows, *, asked: bool = True) -> Rows:
        """Predictions of rows whose shared columns are the same."""
        return self.rest.predict(self.split.rest(rows), rows[0].take(self.split.shared), asked=asked)

    def predict_looked_up(self, rows: int, lookup: Lookup) -> Rows:
        """Predictions of rows that never stand whole anywhere; only where ``split.own_only``.

        Args:
            rows: How many.
            lookup: Fills ``[rows, columns]`` with the rows without what they share, and ``[s]`` with that.
        """
        return self.rest.predict_looked_up(rows, len(self.split.own), len(self.split.shared), lookup)


@dataclass(frozen=True, eq=False)
class PortableProgram:
    """A :class:`PreparedProgram` as it travels.

    Attributes:
        graph: The graph's hash: versions of one graph are asked for the same numbers of rows.
        whole: The whole program.
        split: How it is split, what meets the shared columns, and the program of the rest.
    """

    graph: str
    whole: Converted | PortableChain
    split: tuple[Split, list[Rows], Converted | PortableChain] | None


@dataclass(frozen=True, eq=False)
class PreparedProgram:
    """A whole program and, where its first layers can be split, the same in halves, both without TensorFlow."""

    whole: Forward
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

    @classmethod
    def of(cls, portable: PortableProgram, sizes: RecentSizes, split_sizes: RecentSizes) -> PreparedProgram:
        """What travelled, made ready for the numbers of rows that versions of its graph were asked for here.

        Raises:
            RuntimeError: LiteRT does not take it, or it has a chain and there is no matrix unit here.
            ValueError: Its parts do not fit each other.
        """
        whole = _forward(portable.whole, (), sizes)
        if portable.split is None:
            return cls(whole, None)
        split, once, rest = portable.split
        return cls(whole, Halves(split, _forward(rest, once, split_sizes)))


def _forward(portable: Converted | PortableChain, once: Sequence[Rows], sizes: RecentSizes) -> Forward:
    if isinstance(portable, PortableChain):
        return ChainProgram(portable, sizes)
    return LiteForward(LiteProgram(portable, sizes), once)
