"""What an optimizer and its learning-rate schedule are told, for rows and dense weights; must not know the spec."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

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
ScheduleKind = Literal["constant", "exponential", "linear", "cosine", "inverse_sqrt"]

OPTIMIZER_KINDS: Final[tuple[OptimizerKind, ...]] = get_args(OptimizerKind)
SCHEDULE_KINDS: Final[tuple[ScheduleKind, ...]] = get_args(ScheduleKind)
# Their state holds sums of steps divided by the rate, which mean nothing once the rate is another.
CONSTANT_RATE: Final[frozenset[OptimizerKind]] = frozenset({"ftrl", "group_ftrl", "group_adam"})
# The smallest float32 that is not subnormal: processors may be told to take those for 0.
SMALLEST_EPSILON: Final = 1.1754943508222875e-38
# Kinds that divide by epsilon alone where no gradient came yet, and those that also have the accumulator there.
_DIVIDES: Final[frozenset[OptimizerKind]] = frozenset({"adam", "adamw", "adam_async", "rmsprop_async", "group_adam"})
_ACCUMULATES: Final[frozenset[OptimizerKind]] = frozenset({"adagrad", "rowwise_adagrad", "adagrad_decay"})


@dataclass(frozen=True)
class ScheduleSettings:
    """The learning rate over the steps s = 0, 1, ... as a multiple of the optimizer's.

    (s + 1) / ``warmup`` during the first ``warmup`` steps; then, with x = (s - warmup) / ``steps``: ``constant`` 1;
    ``exponential`` ``factor`` ^ floor(x); ``linear`` and ``cosine`` from 1 to ``factor`` as x goes from 0 to 1;
    ``inverse_sqrt`` 1 / √(1 + x).
    """

    kind: ScheduleKind = "constant"
    warmup: int = 0
    steps: int = 1
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULE_KINDS:
            raise ValueError(f"schedule kind {self.kind!r}; wanted one of {', '.join(SCHEDULE_KINDS)}")
        if self.warmup < 0 or self.steps < 1:
            raise ValueError(f"schedule of {self.warmup} + {self.steps} steps; wanted warmup >= 0 and steps >= 1")
        if not 0 <= self.factor <= 1:
            raise ValueError(f"schedule factor {self.factor!r}; wanted 0 to 1")

    @property
    def is_constant(self) -> bool:
        """Whether every step has the optimizer's own rate."""
        return self.warmup == 0 and (self.kind == "constant" or (self.factor == 1.0 and self.kind != "inverse_sqrt"))


@dataclass(frozen=True)
class OptimizerSettings:
    """How a row or a dense weight learns; each rule reads its own settings. Formulas: ``update_rules_variant.cpp``.

    FTRL and group FTRL take initial values up as if they were learned, and ``l1`` and ``l21`` then shrink them: with
    either, ids that nothing speaks for become zeros. Group FTRL cannot with neither ``initial_accumulator`` nor ``l2``.

    Attributes:
        kind: The rule.
        learning_rate: Its step size.
        initial_accumulator: What the squared gradients of Adagrad and FTRL start from.
        beta1: Decay of the first moment; of the velocity in momentum and nesterov.
        beta2: Decay of the second moment; of Lion's momentum.
        epsilon: Added to the root that a step is divided by.
        weight_decay: Decoupled, AdamW and Lion.
        l1: FTRL's and the group rules'.
        l2: FTRL's (McMahan's λ2, half of TensorFlow's) and the group rules'.
        l21: Of whole rows, the group rules'.
        beta: FTRL's.
        decay_rate: AdagradDecay's discount of its accumulator ...
        decay_steps: ... once per so many steps.
        schedule: The learning rate over time.
    """

    kind: OptimizerKind = "adagrad"
    learning_rate: float = 0.05
    initial_accumulator: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    l21: float = 0.0
    beta: float = 1.0
    decay_rate: float = 0.9
    decay_steps: int = 100_000
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> OptimizerSettings:
        """From plain values by name, those of the schedule one level down.

        Raises:
            ValueError: They do not fit together.
        """
        return cls(**{**values, "schedule": ScheduleSettings(**values["schedule"])})

    def __post_init__(self) -> None:
        if self.kind not in OPTIMIZER_KINDS:
            raise ValueError(f"optimizer kind {self.kind!r}; wanted one of {', '.join(OPTIMIZER_KINDS)}")
        for name in ("learning_rate", "initial_accumulator", "epsilon", "weight_decay", "l1", "l2", "l21", "beta"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"optimizer {name} {value!r}; wanted a finite number of at least 0")
        for name in ("beta1", "beta2", "decay_rate"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"optimizer {name} {value!r}; wanted at least 0 and below 1")
        if self.decay_steps < 1:
            raise ValueError(f"optimizer decay_steps {self.decay_steps!r}; wanted at least 1")
        if self.kind in _DIVIDES and self.epsilon < SMALLEST_EPSILON:
            raise ValueError(
                f"optimizer epsilon {self.epsilon!r}; {self.kind} divides by it, wanted at least {SMALLEST_EPSILON:.3g}"
            )
        if self.kind in _ACCUMULATES and max(self.epsilon, self.initial_accumulator) < SMALLEST_EPSILON:
            raise ValueError(
                f"optimizer epsilon {self.epsilon!r} with initial_accumulator {self.initial_accumulator!r}; {self.kind}"
                f" divides by both together, wanted one of at least {SMALLEST_EPSILON:.3g}"
            )
        if self.kind in CONSTANT_RATE:
            if self.learning_rate == 0:
                raise ValueError(f"optimizer learning_rate 0; {self.kind} divides by it, wanted more than 0")
            if not self.schedule.is_constant:
                raise ValueError(
                    f"optimizer {self.kind} with schedule {self.schedule.kind!r}; its state is made of steps at one"
                    " rate: leave the schedule out"
                )
