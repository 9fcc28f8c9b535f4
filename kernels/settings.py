"""What a table and a column are told; checked here, once, with names in the messages; must not know the spec."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

InitializerKind = Literal["normal", "uniform", "constant"]
OptimizerKind = Literal["adagrad", "adam"]
Combiner = Literal["sum", "mean", "sqrtn"]

LARGEST_DIM = 4096
INITIALIZER_KINDS: tuple[InitializerKind, ...] = ("normal", "uniform", "constant")
OPTIMIZER_KINDS: tuple[OptimizerKind, ...] = ("adagrad", "adam")
COMBINERS: tuple[Combiner, ...] = ("sum", "mean", "sqrtn")


@dataclass(frozen=True)
class InitializerSettings:
    """How a new key's row begins: ``scale`` is the standard deviation, the half width, or the constant itself."""

    kind: InitializerKind = "normal"
    scale: float = 0.01

    def __post_init__(self) -> None:
        if self.kind not in INITIALIZER_KINDS:
            raise ValueError(f"initializer kind {self.kind!r}; wanted one of {', '.join(INITIALIZER_KINDS)}")
        if not math.isfinite(self.scale):
            raise ValueError(f"initializer scale {self.scale!r}; wanted a finite number")


@dataclass(frozen=True)
class OptimizerSettings:
    """How a row learns; ``initial_accumulator`` is Adagrad's, the betas are Adam's."""

    kind: OptimizerKind = "adagrad"
    learning_rate: float = 0.05
    initial_accumulator: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        if self.kind not in OPTIMIZER_KINDS:
            raise ValueError(f"optimizer kind {self.kind!r}; wanted one of {', '.join(OPTIMIZER_KINDS)}")
        for name in ("learning_rate", "initial_accumulator", "epsilon"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"optimizer {name} {value!r}; wanted a finite number of at least 0")
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"optimizer {name} {value!r}; wanted at least 0 and below 1")


@dataclass(frozen=True)
class TableSettings:
    """Rows of one id space. ``seed`` and ``name`` decide, with the key, how a row begins."""

    name: str
    dim: int
    seed: int = 1
    initializer: InitializerSettings = field(default_factory=InitializerSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= LARGEST_DIM:
            raise ValueError(f"table {self.name!r}: dim {self.dim}; wanted 1 to {LARGEST_DIM}")


@dataclass(frozen=True)
class ColumnSettings:
    """One id feature: which table its ids live in and how several ids of one sample become one vector.

    For n ids with rows r: ``sum`` = Σr, ``mean`` = Σr / n, ``sqrtn`` = Σr / √n; no ids = zeros.
    """

    name: str
    table: str
    combiner: Combiner = "mean"

    def __post_init__(self) -> None:
        if self.combiner not in COMBINERS:
            raise ValueError(f"column {self.name!r}: combiner {self.combiner!r}; wanted one of {', '.join(COMBINERS)}")
