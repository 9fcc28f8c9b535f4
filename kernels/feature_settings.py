"""What a feature is told: its name, its column and its form; must not know Arrow nor the spec."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kernels.settings import COMBINERS, Combiner

Scaling = Literal["none", "log", "standard"]
SCALINGS = ("none", "log", "standard")


@dataclass(frozen=True)
class IdFeature:
    """Ids, one or several per sample: strings are hashed (kernels/HASHING.md), integers are keys as they are."""

    name: str
    source: str
    table: str
    combiner: Combiner = "mean"

    def __post_init__(self) -> None:
        if self.combiner not in COMBINERS:
            raise ValueError(f"feature {self.name!r}: combiner {self.combiner!r}; wanted one of {', '.join(COMBINERS)}")


@dataclass(frozen=True)
class NumberFeature:
    """A number per sample: ``none`` as it is, ``log`` sign(x) log(1 + |x|), ``standard`` (x - mean) / deviation."""

    name: str
    source: str
    scaling: Scaling = "none"

    def __post_init__(self) -> None:
        if self.scaling not in SCALINGS:
            raise ValueError(f"feature {self.name!r}: scaling {self.scaling!r}; wanted one of {', '.join(SCALINGS)}")


Feature = IdFeature | NumberFeature
