"""A chain of dense layers on the processor's matrix unit, where it has one; must not know graphs or tables."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels import _core


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """``act(x @ weights + bias)``.

    Attributes:
        weights: ``[inputs, outputs]`` float32.
        bias: ``[outputs]`` float32, or None.
        relu: Whether what is below zero is cut off.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    relu: bool


class DenseLayers:
    """Layers one after the other, for any number of threads.

    A float32 is the sum of a few bfloat16, and a product of two the sum of their products but for the smallest (Henry,
    Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations",
    ARITH 2019). With three parts and six products about 2^-24 of its size is lost, as in float32; with two parts and
    three products 2^-16, for half of the work. What overflows float32 on the way is no number in the end.

    Args:
        layers: At least one, each as wide as the one before gives.
        shared: What meets the numbers that all rows have in common, ``[shared, outputs of the first layer]``; None
            where there are none.
        sigmoid: Whether it ends with one.
        parts: Of each number, 2 or 3.

    Raises:
        RuntimeError: See :meth:`available`.
        ValueError: The layers do not fit each other.
    """

    def __init__(
        self,
        layers: Sequence[DenseLayer],
        shared: NDArray[np.float32] | None = None,
        *,
        sigmoid: bool = False,
        parts: int = 3,
    ) -> None:
        plain = [(layer.weights, layer.bias, layer.relu) for layer in layers]
        self._core = _core.TileLayers(plain, shared, sigmoid, parts)
        self.inputs = self._core.inputs
        self.outputs = self._core.outputs

    @staticmethod
    def available() -> bool:
        """Whether this machine has such a unit (x86 with AMX and its bfloat16) and the kernel lends it."""
        return _core.has_matrix_unit()

    def run(self, rows: NDArray[np.float32], shared: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """``[count, outputs]`` of rows ``[count, inputs]`` and, where the chain has some, shared numbers ``[shared]``.

        Raises:
            ValueError: Sizes do not fit.
        """
        out = np.empty((len(rows), self.outputs), np.float32)
        self._core.run(rows, shared, out)
        return out
