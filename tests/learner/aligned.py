"""Memory as the tables hand it over: float32, aligned to 64 bytes; knows nothing else."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import numpy.typing as npt


def aligned(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """A copy of ``values`` whose first byte stands at a multiple of 64."""
    source = np.asarray(values, np.float32)
    memory = np.zeros(source.size + 16, np.float32)
    skip = (-memory.ctypes.data % 64) // 4
    copy = memory[skip : skip + source.size].reshape(source.shape)
    copy[:] = source
    return copy
