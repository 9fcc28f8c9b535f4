"""What a pipeline.yaml may say about one table and about how weights learn; must not know how either is done."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from infra.spec_part import FieldName, Part
from infra.units import Duration

OptimizerKind = Literal[
    "sgd",
    "momentum",
    "nesterov",
    "adagrad",
    "rowwise_adagrad",
    "adagrad_decay",
    "adam",
    "adamw",
    "adam_async",
    "rmsprop_async",
    "ftrl",
    "group_ftrl",
    "group_adam",
    "lion",
]
# The state of these is made of steps at one rate, and means nothing at another.
CONSTANT_RATE: Final[frozenset[OptimizerKind]] = frozenset({"ftrl", "group_ftrl", "group_adam"})


class Schedule(Part):
    """The learning rate over the steps: warm up, then decay to ``factor`` of it."""

    kind: Literal["constant", "exponential", "linear", "cosine", "inverse_sqrt"] = "constant"
    warmup: int = Field(default=0, ge=0)
    steps: int = Field(default=1, ge=1)
    factor: float = Field(default=1.0, ge=0, le=1)


class Optimizer(Part):
    """One rule; each kind reads its own settings and ignores the rest."""

    kind: OptimizerKind = "adagrad"
    learning_rate: float = Field(default=0.03, gt=0)
    initial_accumulator: float = Field(default=0.1, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, ge=1.1754943508222875e-38)  # no less than the smallest normal float32
    weight_decay: float = Field(default=0.0, ge=0)
    l1: float = Field(default=0.0, ge=0)
    l2: float = Field(default=0.0, ge=0)
    l21: float = Field(default=0.0, ge=0)
    beta: float = Field(default=1.0, ge=0)
    decay_rate: float = Field(default=0.9, ge=0, lt=1)
    decay_steps: int = Field(default=100_000, ge=1)
    schedule: Schedule = Schedule()


class DenseOptimizer(Optimizer):
    """The same settings with a smaller step: every sample moves the dense weights, only its own the rows."""

    learning_rate: float = Field(default=0.005, gt=0)


class Initializer(Part):
    kind: Literal["normal", "truncated_normal", "uniform", "constant"] = "normal"
    scale: float = 0.01


class Rung(Part):
    """Rows have only ``dim`` coordinates until their id has been trained ``until`` times."""

    dim: int = Field(ge=1)
    until: int = Field(ge=1)


class Admission(Part):
    """Which ids get a row: all, those seen ``occurrences`` times, or each by chance."""

    kind: Literal["always", "counter", "bloom", "probability"] = "always"
    occurrences: int = Field(default=2, ge=1)
    capacity: int = Field(default=1_000_000, ge=1)
    false_positive: float = Field(default=0.01, gt=0, lt=1)
    period: Duration = Duration("0s")
    probability: float = Field(default=1.0, gt=0, le=1)
    not_admitted: float = 0.0


class Eviction(Part):
    """Which rows leave; what is not named is off."""

    step_ttl: int = Field(default=0, ge=0)
    time_ttl: Duration = Duration("0s")
    half_norm: float | None = Field(default=None, ge=0)
    max_rows: int = Field(default=0, ge=0)
    order: Literal["lfu", "lru"] = "lfu"
    rows_per_step: int = Field(default=1024, ge=1)


class AdaptiveRows(Part):
    """Ids that are not admitted yet share ``rows`` rows, by hash; an id's own row begins with the shared one."""

    rows: int = Field(ge=1, lt=2**32)


class MultiHash(Part):
    """An id's row is made of two: of its quotient by ``remainders`` and of its remainder."""

    quotients: int = Field(ge=1)
    remainders: int = Field(ge=1)
    combine: Literal["add", "multiply", "concat"] = "add"


class Table(Part):
    name: FieldName
    dim: int = Field(ge=1, le=1024)
    initializer: Initializer = Initializer()
    optimizer: Optimizer = Optimizer()
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    # What replicas download; the learner's own rows and their restore stay as they are.
    serving_precision: Literal["float32", "bfloat16", "int8"] = "float32"
    ladder: tuple[Rung, ...] = ()
    admission: Admission = Admission()
    eviction: Eviction = Eviction()
    adaptive: AdaptiveRows | None = None
    multi_hash: MultiHash | None = None
