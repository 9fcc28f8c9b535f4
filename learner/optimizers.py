"""Update rules of the dense weights: the kernels' own, so that rows and weights learn alike; knows no model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

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

    Weights and gradients of all variables travel as one vector, in the variables' order: each call into TensorFlow
    costs as much as a small layer, and a model of a few layers would be read and written by twenty of them.

    Args:
        variables: The weights, float32.
        settings: The rule's constants.
    """

    def __init__(self, variables: Sequence[tf.Variable], settings: spec.Optimizer) -> None:
        self._variables = list(variables)
        self._rule = DenseRule(OptimizerSettings.of(settings.model_dump()))
        self._slots = [self._rule.begin(variable.numpy().reshape(-1)) for variable in self._variables]
        self._step = 0
        self._ends = list(accumulate(int(np.prod(variable.shape)) for variable in self._variables))
        self._write = tf.function(self._trace_write, autograph=False).get_concrete_function(
            tf.TensorSpec([self._ends[-1] if self._ends else 0], tf.float32)
        )

    def weights(self) -> Any:
        """All weights as one vector, as TensorFlow operations: for a function that reads them anyway."""
        return in_one([variable.value() for variable in self._variables])

    def apply(self, weights: Floats, gradient: Floats) -> None:
        """One step.

        Args:
            weights: What the variables hold, float32 [n], as :meth:`weights` gives it.
            gradient: By each of them, float32 [n].
        """
        updated = np.empty_like(weights)
        begin = 0
        for place, end in enumerate(self._ends):
            updated[begin:end], self._slots[place] = self._rule.update(
                weights[begin:end], self._slots[place], gradient[begin:end], self._step
            )
            begin = end
        self._write(tf.constant(updated))
        self._step += 1

    def _trace_write(self, weights: Any) -> None:
        begin = 0
        for variable, end in zip(self._variables, self._ends, strict=True):
            variable.assign(tf.reshape(weights[begin:end], variable.shape))
            begin = end

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


def in_one(tensors: Sequence[Any]) -> Any:
    """Tensors of one type as one vector, in their order."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0) if tensors else tf.zeros([0])


def build_optimizer(variables: Sequence[tf.Variable], settings: spec.Optimizer) -> DenseOptimizer:
    """The rule that ``settings.kind`` names, with fresh slots."""
    return DenseOptimizer(variables, settings)
