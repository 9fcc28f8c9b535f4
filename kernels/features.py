"""Named Arrow columns to ids and numbers, the same for learner and replica; must not know the spec or TensorFlow.

Both sides bring pyarrow arrays: the learner decodes samples with Arrow, a replica turns a request's tensors into Arrow
arrays first. There is no second path for numpy.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kernels.arrow_columns import ids_of, numbers_of
from kernels.batch import EncodedBatch
from kernels.feature_settings import Feature, IdFeature, NumberFeature
from kernels.running_statistics import RunningStatistics
from kernels.settings import ColumnSettings

__all__ = [
    "EncodedBatch",
    "Feature",
    "FeatureEncoder",
    "IdFeature",
    "NumberFeature",
    "RunningStatistics",
]

Column: TypeAlias = pa.Array | pa.ChunkedArray


class FeatureEncoder:
    """Turns the named columns of a batch into arrays for ``EmbeddingTables`` and ``RunningStatistics``.

    Strings are hashed to int64 (kernels/HASHING.md). A null id is no id; a null in a list is skipped. A null, NaN or
    infinite number is missing and reads as 0 after scaling. The encoder holds no state: equal columns, equal batches.

    Attributes:
        sources: Names of the columns that ``encode`` reads, each once, in order of first use.
        columns: One per id feature, in feature order, for ``EmbeddingTables``.
        numbers: How many number features there are.

    Args:
        features: In order; names must differ.
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        self.features = tuple(features)
        if not self.features:
            raise ValueError("no features; wanted at least one")
        names = [feature.name for feature in self.features]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"feature names must be unique; twice: {', '.join(twice)}")
        self._ids = [feature for feature in self.features if isinstance(feature, IdFeature)]
        self._numbers = [feature for feature in self.features if isinstance(feature, NumberFeature)]
        self._standard = [position for position, one in enumerate(self._numbers) if one.scaling == "standard"]
        self.sources = tuple(dict.fromkeys(feature.source for feature in self.features))
        self.columns = tuple(ColumnSettings(one.name, one.table, one.combiner) for one in self._ids)
        self.numbers = len(self._numbers)

    def encode(self, columns: Mapping[str, Column]) -> EncodedBatch:
        """One batch from its columns; those that no feature names are ignored.

        Args:
            columns: Per source a pyarrow Array or ChunkedArray, all of one length. Ids: string, integer, list of
                either; numbers: integer, floating point, boolean. A column of type null is all missing.

        Raises:
            KeyError: A source is missing.
            ValueError: A column's type does not fit its feature, or lengths differ.
        """
        rows = self._rows(columns)
        ids: list[NDArray[np.int64]] = []
        splits: list[NDArray[np.int32] | None] = []
        for id_feature in self._ids:
            try:
                of_column = ids_of(columns[id_feature.source])
            except (TypeError, ValueError) as error:
                raise ValueError(f"feature {id_feature.name!r}, column {id_feature.source!r}: {error}") from error
            ids.append(of_column[0])
            splits.append(of_column[1])
        numbers = np.zeros((rows, self.numbers), np.float32)
        unscaled = np.full((rows, len(self._standard)), np.nan, np.float64)
        not_finite: list[int] = []
        for position, feature in enumerate(self._numbers):
            try:
                values, bad = numbers_of(columns[feature.source])
            except TypeError as error:
                raise ValueError(f"feature {feature.name!r}, column {feature.source!r}: {error}") from error
            if feature.scaling == "standard":
                unscaled[:, self._standard.index(position)] = values
            else:
                bad += _fill(numbers[:, position], values, feature)
            not_finite.append(bad)
        return EncodedBatch(rows, tuple(ids), tuple(splits), numbers, unscaled, tuple(not_finite))

    def _rows(self, columns: Mapping[str, Column]) -> int:
        for feature in self.features:
            if feature.source not in columns:
                got = ", ".join(sorted(columns)) or "none"
                raise KeyError(f"feature {feature.name!r}: no column {feature.source!r}; got {got}")
        lengths = {source: len(columns[source]) for source in self.sources}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{source} {length}" for source, length in lengths.items())
            raise ValueError(f"columns must have one length; got {told}")
        return next(iter(lengths.values()))


def _fill(to: NDArray[np.float32], values: NDArray[np.float64], feature: NumberFeature) -> int:
    """Scales into a column of the numbers; returns how many values do not fit float32 and are missing, too."""
    if feature.scaling == "log":
        values = np.sign(values) * np.log1p(np.abs(values))
    largest = float(np.finfo(np.float32).max)
    too_large = np.abs(values) > largest
    to[:] = np.where(np.isnan(values) | too_large, 0.0, values)
    return int(np.count_nonzero(too_large))
