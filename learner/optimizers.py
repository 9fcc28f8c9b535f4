"""Update rules of the dense weights, the same forms as the tables' rows; must not know the model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from infra import spec
from learner.tensorflow_setup import tf

# Keras is not used here: its Adagrad divides by √(n + ε), its Adam adds ε before the bias correction, so that the same
# settings would mean one thing for a row and another for a dense weight.


class DenseOptimizer(ABC):
    """Updates variables in place and owns their slots.

    Args:
        variables: The weights, float32.
        settings: The rule's constants.
    """

    def __init__(self, variables: Sequence[tf.Variable], settings: spec.Optimizer) -> None:
        self._variables = list(variables)
        self._settings = settings
        self._slots: dict[str, tf.Variable] = {}

    def _slot(self, kind: str, variable_index: int, value: float) -> tf.Variable:
        weight = self._variables[variable_index]
        slot = tf.Variable(tf.fill(weight.shape, tf.constant(value, tf.float32)), trainable=False)
        self._slots[f"{kind}_{variable_index}"] = slot
        return slot

    @abstractmethod
    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """Traces one update; ``gradients`` stand in the order of the variables."""

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """A copy of every slot, by name, in a fixed order."""
        return {name: np.array(slot.numpy()) for name, slot in self._slots.items()}

    def load(self, state: dict[str, npt.NDArray[np.generic]]) -> None:
        """Takes over what :meth:`state` gave.

        Raises:
            ValueError: Names or shapes are those of another model or rule.
        """
        if list(state) != list(self._slots):
            raise ValueError(f"optimizer slots {list(state)}; wanted {list(self._slots)}")
        for name, slot in self._slots.items():
            if tuple(state[name].shape) != tuple(slot.shape):
                raise ValueError(f"optimizer slot `{name}` has shape {state[name].shape}; wanted {tuple(slot.shape)}")
            slot.assign(state[name])


class Adagrad(DenseOptimizer):
    """``n ← n + g²; w ← w - η g / (√n + ε)``; Duchi et al., JMLR 2011."""

    def __init__(self, variables: Sequence[tf.Variable], settings: spec.Optimizer) -> None:
        super().__init__(variables, settings)
        self._sums = [self._slot("sum", index, settings.initial_accumulator) for index in range(len(self._variables))]

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        rate, epsilon = self._settings.learning_rate, self._settings.epsilon
        for weight, total, gradient in zip(self._variables, self._sums, gradients, strict=True):
            n = total.assign_add(tf.square(gradient))
            weight.assign_sub(rate * gradient / (tf.sqrt(n) + epsilon))


class Adam(DenseOptimizer):
    """``m ← β1 m + (1-β1) g; v ← β2 v + (1-β2) g²; w ← w - η m̂ / (√v̂ + ε)``; Kingma and Ba, ICLR 2015.

    ``m̂ = m / (1 - β1^t)``, ``v̂ = v / (1 - β2^t)`` with t the number of updates so far, this one included.
    """

    def __init__(self, variables: Sequence[tf.Variable], settings: spec.Optimizer) -> None:
        super().__init__(variables, settings)
        self._count = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._slots["count"] = self._count
        indices = range(len(self._variables))
        self._first = [self._slot("first_moment", index, 0.0) for index in indices]
        self._second = [self._slot("second_moment", index, 0.0) for index in indices]

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        chosen = self._settings
        beta1, beta2 = chosen.beta1, chosen.beta2
        # In float64, since 1 - β^t cancels in float32 while t is small.
        count = tf.cast(self._count.assign_add(1), tf.float64)
        first_correction = tf.cast(1.0 - tf.pow(tf.constant(beta1, tf.float64), count), tf.float32)
        second_correction = tf.cast(1.0 - tf.pow(tf.constant(beta2, tf.float64), count), tf.float32)
        for weight, first, second, gradient in zip(self._variables, self._first, self._second, gradients, strict=True):
            m = first.assign(beta1 * first + (1.0 - beta1) * gradient)
            v = second.assign(beta2 * second + (1.0 - beta2) * tf.square(gradient))
            step = (m / first_correction) / (tf.sqrt(v / second_correction) + chosen.epsilon)
            weight.assign_sub(chosen.learning_rate * step)


def build_optimizer(variables: Sequence[tf.Variable], settings: spec.Optimizer) -> DenseOptimizer:
    """The rule that ``settings.kind`` names, with fresh slots."""
    rules: dict[str, type[DenseOptimizer]] = {"adagrad": Adagrad, "adam": Adam}
    return rules[settings.kind](variables, settings)
