"""What a table and a column are told; checked here, once, with names in the messages; must not know the spec."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal, get_args

from kernels.lifecycle_settings import AdmissionSettings, EvictionSettings
from kernels.optimizer_settings import OptimizerSettings
from kernels.row_shapes import AdaptiveRows, MultiHash, check_row_shape

InitializerKind = Literal["normal", "truncated_normal", "uniform", "constant"]
Combiner = Literal["sum", "mean", "sqrtn", "none"]
Keep = Literal["first", "last"]
Precision = Literal["float32", "bfloat16", "float16"]

LARGEST_DIM: Final = 4096
MOST_RUNGS: Final = 4
INITIALIZER_KINDS: Final[tuple[InitializerKind, ...]] = get_args(InitializerKind)
COMBINERS: Final[tuple[Combiner, ...]] = get_args(Combiner)
KEEPS: Final[tuple[Keep, ...]] = get_args(Keep)
MOST_POSITIONS: Final = 4096
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)


@dataclass(frozen=True)
class InitializerSettings:
    """How a new key's row begins.

    ``scale`` is the standard deviation (``truncated_normal``: before it is cut at two of them), the half width, or
    the constant itself.
    """

    kind: InitializerKind = "normal"
    scale: float = 0.01

    def __post_init__(self) -> None:
        if self.kind not in INITIALIZER_KINDS:
            raise ValueError(f"initializer kind {self.kind!r}; wanted one of {', '.join(INITIALIZER_KINDS)}")
        if not math.isfinite(self.scale):
            raise ValueError(f"initializer scale {self.scale!r}; wanted a finite number")


@dataclass(frozen=True)
class Rung:
    """Rows have only ``dim`` coordinates until their key has occurred ``until`` times; the rest read as 0."""

    dim: int
    until: int


@dataclass(frozen=True)
class TableSettings:
    """Rows of one id space. ``seed`` and ``name`` decide, with the key, how a row begins.

    Attributes:
        name: Name of the table.
        dim: Coordinates of a row, of a fully grown one where there is a ladder.
        seed: Of initial rows, admission by chance and stochastic rounding.
        initializer: How a row begins.
        optimizer: How it learns.
        precision: How values are kept; 16-bit ones are rounded by chance, so that small steps add up. The optimizer's
            state is always float32.
        ladder: The smaller sizes, ascending; coordinates gained later begin as the initializer has them.
        admission: Which keys get a row.
        eviction: Which rows leave.
        adaptive: What keys share that have no row of their own yet.
        multi_hash: Two small tables instead of one; initializer, ladder, admission and eviction are then of each.
    """

    name: str
    dim: int
    seed: int = 1
    initializer: InitializerSettings = field(default_factory=InitializerSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    precision: Precision = "float32"
    ladder: tuple[Rung, ...] = ()
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    eviction: EvictionSettings = field(default_factory=EvictionSettings)
    adaptive: AdaptiveRows | None = None
    multi_hash: MultiHash | None = None

    def __post_init__(self) -> None:
        where = f"table {self.name!r}: "
        if not 1 <= self.dim <= LARGEST_DIM:
            raise ValueError(f"{where}dim {self.dim}; wanted 1 to {LARGEST_DIM}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"{where}precision {self.precision!r}; wanted one of {', '.join(PRECISIONS)}")
        if len(self.ladder) >= MOST_RUNGS:
            raise ValueError(f"{where}a ladder of {len(self.ladder)} rungs; wanted at most {MOST_RUNGS - 1}")
        dims = [0, *(rung.dim for rung in self.ladder), self.dim]
        untils = [0, *(rung.until for rung in self.ladder), 2**32]
        if any(low >= high for low, high in pairwise(dims)) or any(low >= high for low, high in pairwise(untils)):
            raise ValueError(f"{where}the ladder's dims and untils must rise, below dim {self.dim} and 2^32")
        check_row_shape(self)

    @property
    def dims(self) -> list[int]:
        """Coordinates of a row by rung, ascending."""
        return [*(rung.dim for rung in self.ladder), self.dim]

    @property
    def thresholds(self) -> list[int]:
        """From which frequency on a row stands on the next rung."""
        return [rung.until for rung in self.ladder]


@dataclass(frozen=True)
class ColumnSettings:
    """One id feature: which table its ids live in and how several ids of one sample become one vector.

    For n ids with rows r and weights v (1 unless the batch has some): ``sum`` = Σvr, ``mean`` = Σvr / Σv, ``sqrtn`` =
    Σvr / √Σv²; no ids, or nothing to divide by = zeros. ``none`` leaves them side by side: vr of position 0, of
    position 1, ... up to ``length``, zeros where a sample has fewer ids, then one float: how many it has. Of a sample
    with more ids only the first or the last ``length``, in their order, are in the batch at all: the others are neither
    looked up nor counted.
    """

    name: str
    table: str
    combiner: Combiner = "mean"
    length: int = 0
    keep: Keep = "last"

    def __post_init__(self) -> None:
        check_combiner(f"column {self.name!r}", self.combiner, self.length, self.keep)


def check_combiner(where: str, combiner: str, length: int = 0, keep: str = "last") -> None:
    """Refuses what does not say how several ids of one sample become one block.

    Raises:
        ValueError: An unknown word, ``none`` without a length, or a length that nothing uses.
    """
    if combiner not in COMBINERS:
        raise ValueError(f"{where}: combiner {combiner!r}; wanted one of {', '.join(COMBINERS)}")
    if keep not in KEEPS:
        raise ValueError(f"{where}: keep {keep!r}; wanted one of {', '.join(KEEPS)}")
    if combiner == "none" and not 1 <= length <= MOST_POSITIONS:
        raise ValueError(f"{where}: combiner none with length {length}; wanted a length of 1 to {MOST_POSITIONS}")
    if combiner != "none" and length:
        raise ValueError(f"{where}: length {length} with combiner {combiner}; wanted combiner none, or no length")
