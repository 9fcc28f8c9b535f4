"""Named Arrow columns to ids and numbers, the same for learner and replica; must not know the spec or TensorFlow.

Both sides bring pyarrow arrays: the learner decodes samples with Arrow, a replica turns a request's tensors into Arrow
arrays first, but for integers that it has as they are needed.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kernels.arrow_columns import MOST_IDS, hash_text, ids_of, numbers_of
from kernels.batch import EncodedBatch
from kernels.crossing import Keys, cross
from kernels.feature_settings import BucketFeature, CrossFeature, Feature, IdFeature, KeyedFeature, NumberFeature
from kernels.running_statistics import RunningStatistics
from kernels.settings import ColumnSettings

__all__ = [
    "BucketFeature",
    "CrossFeature",
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

    Strings are hashed to int64 (kernels/HASHING.md). The encoder holds no state: equal columns, equal batches.

    What is missing: a null is no id, in a list too, and a cross with it is none; no ids pool to zeros. A null, NaN or
    infinite number reads as 0 after scaling and is in no bucket.

    Attributes:
        sources: Names of the columns that ``encode`` reads, each once, in order of first use.
        columns: One per feature with keys, in feature order, for ``EmbeddingTables``.
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
        self._keyed = [feature for feature in self.features if not isinstance(feature, NumberFeature)]
        self._numbers = [feature for feature in self.features if isinstance(feature, NumberFeature)]
        self._standard = [position for position, one in enumerate(self._numbers) if one.scaling == "standard"]
        # Nearly every feature of a request: its ids are its column's, as they are.
        self._plain = [isinstance(one, IdFeature) and not one.vocabulary and one.length == 0 for one in self._keyed]
        self._plain_sources = [
            feature.sources[0] if plain else "" for feature, plain in zip(self._keyed, self._plain, strict=True)
        ]
        self.sources = tuple(dict.fromkeys(source for feature in self.features for source in feature.sources))
        self.columns = tuple(map(_column, self._keyed))
        self._vocabularies = {
            one.name: _Vocabulary(one.vocabulary)
            for one in self._keyed
            if isinstance(one, IdFeature) and one.vocabulary
        }
        self.numbers = len(self._numbers)

    def encode(self, columns: Mapping[str, Column], rows: int | None = None) -> EncodedBatch:
        """One batch from its columns; those that no feature names are ignored.

        Args:
            columns: Per source a pyarrow Array or ChunkedArray, all of one length. Ids: string, integer, list of
                either; numbers: integer, floating point, boolean. A column of type null is all missing.
            rows: How many samples; a column of one value then stands for all of them, and gives one id where it is
                no list. None: as long as the columns.

        Raises:
            KeyError: A source is missing.
            ValueError: A column's type does not fit its feature, lengths differ, or a list that stands for all samples
                is more ids than splits can count.
        """
        rows = self._rows(columns, rows)
        read = _Read(columns)
        keys = [
            read.ids_for(feature, rows) if plain else self._keys(feature, read, rows)
            for feature, plain in zip(self._keyed, self._plain, strict=True)
        ]
        return self._batch(rows, keys, read)

    def encode_to_read(self, columns: Mapping[str, Column | NDArray[np.int64]], rows: int) -> EncodedBatch:
        """:meth:`encode` for ``TableReader.lookup_halves`` alone: ids that are as they are needed are not looked at.

        Such ids stand in the batch as they came: an array int64, or Arrow's buffer of them.

        Args:
            columns: As of ``encode``; integers may be arrays int64, too.
            rows: How many samples.

        Raises:
            KeyError: As ``encode``.
            ValueError: As ``encode``.
        """
        keys: list[Keys | None] = []
        lengths = (rows, 1)
        for source in self._plain_sources:
            column: Any = columns.get(source)
            if type(column) is np.ndarray:
                if len(column) in lengths:
                    keys.append((column, None))
                    continue
            elif type(column) is pa.Int64Array and column.offset == 0 and column.null_count == 0:
                buffer = column.buffers()[1]
                count = len(column)
                if count in lengths and buffer.size == count * 8:
                    keys.append((buffer, None))
                    continue
            keys.append(None)
        read = _NOTHING
        if self.numbers or None in keys:
            arrow = {name: pa.array(one) if type(one) is np.ndarray else one for name, one in columns.items()}
            self._rows(arrow, rows)
            read = _Read(arrow)
        made = [
            found or (read.ids_for(feature, rows) if plain else self._keys(feature, read, rows))
            for found, feature, plain in zip(keys, self._keyed, self._plain, strict=True)
        ]
        return self._batch(rows, made, read)

    def _batch(self, rows: int, keys: list[Keys], read: _Read) -> EncodedBatch:
        numbers = np.zeros((rows, self.numbers), np.float32)
        unscaled = np.full((rows, len(self._standard)), np.nan, np.float64)
        not_finite: list[int] = []
        for position, feature in enumerate(self._numbers):
            values, bad = read.numbers(feature.name, feature.source)
            if feature.scaling == "standard":
                unscaled[:, self._standard.index(position)] = values
            else:
                bad += _fill(numbers[:, position], values, feature)
            not_finite.append(bad)
        ids, splits = zip(*keys, strict=True) if keys else ((), ())
        return EncodedBatch(rows, ids, splits, numbers, unscaled, tuple(not_finite))

    def _keys(self, feature: KeyedFeature, read: _Read, rows: int) -> Keys:
        match feature:
            case CrossFeature():
                parts = [read.ids(feature.name, source) for source in feature.sources]
                if len(set(map(_samples, parts))) > 1:
                    parts = [_repeated(part, rows) for part in parts]
                keys = cross(parts)
            case BucketFeature():
                values, _ = read.numbers(feature.name, feature.source)
                keys = _buckets(values, np.array(feature.boundaries))
            case IdFeature():
                ids, splits = read.ids(feature.name, feature.source)
                known = self._vocabularies.get(feature.name)
                keys = (ids if known is None else known.places(ids)), splits
        if isinstance(feature, IdFeature) and feature.length > 0:
            return _repeated(keys if _samples(keys) == rows else _cut(keys, feature), rows)
        # A single id may stand for all samples, but no sequence can.
        return keys if keys[1] is None else _repeated(keys, rows)

    def _rows(self, columns: Mapping[str, Column], rows: int | None) -> int:
        try:
            lengths = {source: len(columns[source]) for source in self.sources}
        except KeyError as error:
            feature = next(feature for feature in self.features if error.args[0] in feature.sources)
            got = ", ".join(sorted(columns)) or "none"
            raise KeyError(f"feature {feature.name!r}: no column {error.args[0]!r}; got {got}") from None
        wanted = next(iter(lengths.values())) if rows is None else rows
        if not set(lengths.values()) <= ({wanted} if rows is None else {wanted, 1}):
            told = ", ".join(f"{source} {length}" for source, length in lengths.items())
            raise ValueError(
                f"columns must have one length; got {told}" + ("" if rows is None else f", for {rows} rows")
            )
        return wanted


def _samples(keys: Keys) -> int:
    return len(keys[0]) if keys[1] is None else len(keys[1]) - 1


def _cut(keys: Keys, feature: IdFeature) -> Keys:
    """Of the keys of one sample those that its sequence takes, so that no others are repeated."""
    ids, splits = keys
    if splits is None or len(ids) <= feature.length:
        return keys
    kept = ids[-feature.length :] if feature.keep == "last" else ids[: feature.length]
    return kept, np.array([0, len(kept)], np.int32)


def _repeated(keys: Keys, rows: int) -> Keys:
    """Keys of one sample as those of ``rows`` equal ones; those of all samples as they are."""
    ids, splits = keys
    if _samples(keys) == rows:
        return keys
    if splits is None:
        return np.repeat(ids, rows), None
    if len(ids) * rows > MOST_IDS:
        raise ValueError(f"{len(ids)} ids for each of {rows} rows; wanted at most {MOST_IDS} in all")
    return np.tile(ids, rows), np.arange(rows + 1, dtype=np.int32) * np.int32(len(ids))


class _Read:
    """The columns of one batch, each turned into keys or numbers once, however many features read it."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns
        self._ids: dict[str, Keys] = {}
        self._numbers: dict[str, tuple[NDArray[np.float64], int]] = {}

    def ids(self, feature: str, source: str) -> Keys:
        found = self._ids.get(source)
        if found is None:
            try:
                found = self._ids[source] = ids_of(self._columns[source])
            except (TypeError, ValueError) as error:
                raise _named(feature, source, error) from error
        return found

    def ids_for(self, feature: KeyedFeature, rows: int) -> Keys:
        """Of a feature whose ids are its column's."""
        (source,) = feature.sources
        keys = self.ids(feature.name, source)
        # A single id may stand for all samples.
        return keys if keys[1] is None else _repeated(keys, rows)

    def numbers(self, feature: str, source: str) -> tuple[NDArray[np.float64], int]:
        if source not in self._numbers:
            try:
                self._numbers[source] = numbers_of(self._columns[source])
            except (TypeError, ValueError) as error:
                raise _named(feature, source, error) from error
        return self._numbers[source]


_NOTHING = _Read({})


def _named(feature: str, source: str, error: Exception) -> ValueError:
    return ValueError(f"feature {feature!r}, column {source!r}: {error}")


class _Vocabulary:
    """Places of known values, found by their keys: 1 for the first, 0 for all others."""

    def __init__(self, values: tuple[str | int, ...]) -> None:
        keys = np.array(
            [hash_text(pa.array([each]), "vocabulary")[0] if isinstance(each, str) else each for each in values],
            np.int64,
        )
        order = np.argsort(keys)
        self._keys, self._places = keys[order], order + 1

    def places(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[found] == keys, self._places[found], 0)


def _buckets(values: NDArray[np.float64], boundaries: NDArray[np.float64]) -> Keys:
    known = ~np.isnan(values)
    keys = np.searchsorted(boundaries, values, side="right").astype(np.int64)
    if known.all():
        return keys, None
    splits = np.zeros(len(values) + 1, np.int32)
    np.cumsum(known, out=splits[1:])
    return keys[known], splits


def _column(feature: KeyedFeature) -> ColumnSettings:
    if isinstance(feature, IdFeature):
        return ColumnSettings(feature.name, feature.table, feature.combiner, feature.length, feature.keep)
    combiner = "mean" if isinstance(feature, BucketFeature) else feature.combiner
    return ColumnSettings(feature.name, feature.table, combiner)


def _fill(to: NDArray[np.float32], values: NDArray[np.float64], feature: NumberFeature) -> int:
    """Scales into a column of the numbers; returns how many values do not fit float32 and are missing, too."""
    if feature.scaling == "log":
        values = np.sign(values) * np.log1p(np.abs(values))
    largest = float(np.finfo(np.float32).max)
    too_large = np.abs(values) > largest
    to[:] = np.where(np.isnan(values) | too_large, 0.0, values)
    return int(np.count_nonzero(too_large))
