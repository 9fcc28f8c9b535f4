"""What is asked of a model and what it answers, without any protocol; knows no tables and no HTTP."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True)
class Question:
    """Candidates to be scored.

    Attributes:
        columns: Source column → Arrow array ``[rows]`` of the type that the signature declares; ``[1]`` where shared.
        rows: Number of candidates.
        shared: Columns whose one value holds for every candidate.
    """

    columns: dict[str, pa.Array]
    rows: int
    shared: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Prediction:
    """An answer and the one version that made all of it.

    Attributes:
        version: Number of the version.
        values: ``[rows, labels]`` float32.
    """

    version: int
    values: npt.NDArray[np.float32]
