"""What is asked of a model and what it answers, without any protocol; knows no tables and no HTTP."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Column: TypeAlias = "pa.Array | npt.NDArray[np.int64]"


@dataclass(frozen=True)
class Question:
    """Candidates to be scored.

    Attributes:
        columns: Source column → Arrow array ``[rows]`` of the type that the signature declares, or for integers int64
            ``[rows]``; ``[1]`` where shared.
        rows: Number of candidates.
        shared: Columns whose one value holds for every candidate.
    """

    columns: Mapping[str, Column]
    rows: int
    shared: frozenset[str] = frozenset()

    def arrow(self) -> dict[str, pa.Array]:
        """The columns, all of them as Arrow arrays."""
        return {name: pa.array(one) if isinstance(one, np.ndarray) else one for name, one in self.columns.items()}


@dataclass(frozen=True)
class Prediction:
    """An answer and the one version that made all of it.

    Attributes:
        version: Number of the version.
        values: ``[rows, labels]`` float32.
    """

    version: int
    values: npt.NDArray[np.float32]
