"""An optimizer on dense weights, by the very rules that rows learn by; must not know TensorFlow nor the model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels import _core
from kernels.core_settings import core_optimizer
from kernels.optimizer_settings import OptimizerSettings

Floats = NDArray[np.float32]


class DenseRule:
    """Updates any number of weights; each is one row as wide as it has elements.

    Args:
        settings: The rule.
    """

    def __init__(self, settings: OptimizerSettings) -> None:
        self._rule = _core.DenseRule(core_optimizer(settings))

    def begin(self, values: Floats) -> Floats:
        """State float32 [n] of a weight with these values, float32 [size], that was never updated."""
        return self._rule.begin(np.ascontiguousarray(values, np.float32))

    def update(self, values: Floats, state: Floats, gradient: Floats, step: int) -> tuple[Floats, Floats]:
        """One step; returns new values and state.

        Args:
            values: float32 [size].
            state: float32 [n] as :meth:`begin` or the last update gave it.
            gradient: float32 [size].
            step: How many steps there were before.

        Raises:
            ValueError: Sizes do not fit.
        """
        row = np.concatenate([values, state])
        self._rule.update(row, np.ascontiguousarray(gradient), step)
        return row[: len(values)], row[len(values) :]
