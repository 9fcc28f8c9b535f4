"""Update rules of the dense weights: the kernels' own, so that rows and weights learn alike; knows no model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from infra import spec
from kernels.dense_rule import DenseRule
from kernels.optimizer_settings import OptimizerSettings
from learner.tensorflow_setup import tf

# Keras is not used here: its Adagrad divides by √(n + ε), its Adam adds ε before the bias correction, so that the same
# settings would mean one thing for a row and another for a dense weight.

STEP: Final = "step"

Floats = npt.NDArray[np.float32]


class DenseOptimizer:
    """Updates variables in place and owns their slots.

    Args:
        variables: The weights, float32.
        settings: The rule's constants.
    """

    def __init__(self, variables: Sequence[tf.Variable], settings: spec.Optimizer) -> None:
        self._variables = list(variables)
        self._rule = DenseRule(OptimizerSettings.of(settings.model_dump()))
        self._slots = [self._rule.begin(variable.numpy().reshape(-1)) for variable in self._variables]
        self._step = 0

    def apply(self, gradients: Sequence[Floats]) -> None:
        """One step; ``gradients`` stand in the order of the variables and have their shapes."""
        for place, (variable, gradient) in enumerate(zip(self._variables, gradients, strict=True)):
            values = np.asarray(variable.numpy(), np.float32)
            updated, self._slots[place] = self._rule.update(
                values.reshape(-1), self._slots[place], gradient.reshape(-1), self._step
            )
            variable.assign(updated.reshape(values.shape))
        self._step += 1

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """A copy of every slot, by name, in a fixed order, and how many steps there were."""
        slots = {f"slots_{place}": np.array(slot) for place, slot in enumerate(self._slots)}
        return {STEP: np.array(self._step, np.int64), **slots}

    def load(self, state: dict[str, npt.NDArray[np.generic]]) -> None:
        """Takes over what :meth:`state` gave.

        Raises:
            ValueError: Names or shapes are those of another model or rule.
        """
        wanted = self.state()
        if list(state) != list(wanted):
            raise ValueError(f"optimizer slots {list(state)}; wanted {list(wanted)}")
        for name, slot in wanted.items():
            if state[name].shape != slot.shape:
                raise ValueError(f"optimizer slot `{name}` has shape {state[name].shape}; wanted {slot.shape}")
        self._step = int(np.asarray(state[STEP]))
        self._slots = [np.array(state[f"slots_{place}"], np.float32) for place in range(len(self._slots))]


def build_optimizer(variables: Sequence[tf.Variable], settings: spec.Optimizer) -> DenseOptimizer:
    """The rule that ``settings.kind`` names, with fresh slots."""
    return DenseOptimizer(variables, settings)
