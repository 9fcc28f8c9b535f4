"""What a feature is told: its name, its columns and its form; must not know Arrow nor the spec."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from kernels.settings import Combiner, Keep, check_combiner

Scaling = Literal["none", "log", "standard"]
SCALINGS: Final = ("none", "log", "standard")
FEWEST_PARTS: Final = 2


@dataclass(frozen=True)
class IdFeature:
    """Ids, one or several per sample: strings are hashed (kernels/HASHING.md), integers are keys as they are.

    With a ``vocabulary`` the key is the value's place in it, from 1 on, and 0 for every value that is not in it.
    How several become one block, and what ``length`` and ``keep`` mean, ``ColumnSettings`` says.
    """

    name: str
    source: str
    table: str
    combiner: Combiner = "mean"
    vocabulary: tuple[str | int, ...] = ()
    length: int = 0
    keep: Keep = "last"

    def __post_init__(self) -> None:
        check_combiner(f"feature {self.name!r}", self.combiner, self.length, self.keep)
        if len(set(self.vocabulary)) < len(self.vocabulary):
            twice = sorted({repr(each) for each in self.vocabulary if self.vocabulary.count(each) > 1})
            raise ValueError(f"feature {self.name!r}: twice in the vocabulary: {', '.join(twice)}")

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.source,)


@dataclass(frozen=True)
class CrossFeature:
    """Every combination of one value from each column, hashed from the parts' keys (kernels/HASHING.md)."""

    name: str
    sources: tuple[str, ...]
    table: str
    combiner: Combiner = "mean"

    def __post_init__(self) -> None:
        check_combiner(f"feature {self.name!r}", self.combiner)
        if len(self.sources) < FEWEST_PARTS:
            raise ValueError(f"feature {self.name!r}: a cross of {len(self.sources)} columns; wanted two or more")


@dataclass(frozen=True)
class BucketFeature:
    """The key is how many of the ascending ``boundaries`` are at most the number: 0 to ``len(boundaries)``."""

    name: str
    source: str
    table: str
    boundaries: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.boundaries or not all(map(math.isfinite, self.boundaries)):
            raise ValueError(f"feature {self.name!r}: boundaries {self.boundaries}; wanted one finite number at least")
        if any(low >= high for low, high in pairwise(self.boundaries)):
            raise ValueError(f"feature {self.name!r}: boundaries must rise")

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.source,)


@dataclass(frozen=True)
class NumberFeature:
    """A number per sample: ``none`` as it is, ``log`` sign(x) log(1 + |x|), ``standard`` (x - mean) / deviation."""

    name: str
    source: str
    scaling: Scaling = "none"

    def __post_init__(self) -> None:
        if self.scaling not in SCALINGS:
            raise ValueError(f"feature {self.name!r}: scaling {self.scaling!r}; wanted one of {', '.join(SCALINGS)}")

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.source,)


KeyedFeature = IdFeature | CrossFeature | BucketFeature
Feature = KeyedFeature | NumberFeature
