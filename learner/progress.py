"""Scores predictions made before learning, by event-time bucket; must not know the model or who reads the figures."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from checkpointing.quality import Quality, bins

Floats = npt.NDArray[np.float32]

# Values of a column that are told apart in one bucket; further ones are `other`.
MOST_VALUES: Final = 32
# Samples that may wait to be counted.
COUNTED_AT_ONCE: Final = 4096
OTHER: Final = "other"
# A missing value's name; no value that the join writes looks like it.
MISSING: Final = "(none)"


@dataclass
class _Bucket:
    """Sums of one bucket of event time: the first label's own, those of other labels, and the first's by slice."""

    first: Quality = field(default_factory=Quality)
    labels: dict[str, Quality] = field(default_factory=dict)
    slices: dict[str, dict[str, Quality]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        document = self.first.to_json()
        if self.labels:
            document["labels"] = {name: quality.to_json() for name, quality in self.labels.items()}
        if self.slices:
            document["slices"] = {
                column: {value: values[value].to_json() for value in sorted(values)}
                for column, values in self.slices.items()
            }
        return document


@dataclass(frozen=True)
class _Told:
    """What :meth:`ProgressiveMetrics.record` was told; ``sliced`` are the columns of the slices, or nothing."""

    predictions: Floats
    losses: Floats
    labels: Floats
    weights: Floats
    impression_ms: npt.NDArray[np.int64]
    sliced: list[pa.ChunkedArray]


class ProgressiveMetrics:
    """The sums since the last capture, for the manifest.

    A bucket's own sums are of the first label; ``labels`` holds those of the others by name, ``slices`` those of the
    first by column and value.

    Args:
        bucket_ms: Width of an event-time bucket.
        labels: The label columns, in the order of the model's outputs.
        slices: Columns of low cardinality.
    """

    def __init__(self, bucket_ms: int, labels: Sequence[str] = ("label",), slices: Sequence[str] = ()) -> None:
        self._bucket_ms = bucket_ms
        self._labels = tuple(labels)
        self._slices = tuple(slices)
        self._buckets: dict[int, _Bucket] = {}
        self._waiting: list[_Told] = []
        self._samples_waiting = 0

    def record(
        self,
        predictions: Floats,
        losses: Floats,
        labels: Floats,
        weights: Floats,
        impression_ms: npt.NDArray[np.int64],
        columns: pa.Table | None = None,
    ) -> None:
        """Counts one batch; samples without a label or of weight 0 (probes) say nothing about quality.

        Args:
            predictions: ``[B, labels]``, made before the batch was learned.
            losses: ``[B, labels]``, log loss in nats.
            labels: ``[B, labels]``, 0 or 1, NaN where null.
            weights: ``[B]``.
            impression_ms: ``[B]``, event time of the impressions.
            columns: ``B`` rows with the columns of the slices; None where there are none.
        """
        sliced = [] if columns is None else [columns[name] for name in self._slices]
        # Predictions and losses may be views into memory that the next step writes to.
        self._waiting.append(_Told(predictions.copy(), losses.copy(), labels, weights, impression_ms, sliced))
        self._samples_waiting += len(weights)
        if self._samples_waiting >= COUNTED_AT_ONCE:
            self._count()

    def _count(self) -> None:
        """Counts what waits, all of it at once: a small batch alone would cost nearly as much."""
        if not self._waiting:
            return
        told, self._waiting, self._samples_waiting = _in_one(self._waiting), [], 0
        labels, losses = told.labels, told.losses
        known = ~np.isnan(labels) & (told.weights > 0)[:, None]
        starts = told.impression_ms // self._bucket_ms * self._bucket_ms
        values = [(name, list(_by_value(one))) for name, one in zip(self._slices, told.sliced, strict=False)]
        for start in np.unique(starts[known.any(axis=1)]).tolist():
            bucket = self._buckets.setdefault(start, _Bucket())
            inside = known & (starts == start)[:, None]
            for place, name in enumerate(self._labels):
                if inside[:, place].any():
                    quality = bucket.first if place == 0 else bucket.labels.setdefault(name, Quality())
                    _add(quality, told.predictions[:, place], losses[:, place], labels[:, place], inside[:, place])
            for name, rows_by_value in values:
                self._slice(bucket.slices.setdefault(name, {}), rows_by_value, told.predictions, losses, labels, inside)

    def _slice(
        self,
        known: dict[str, Quality],
        rows_by_value: list[tuple[str, npt.NDArray[np.bool_]]],
        predictions: Floats,
        losses: Floats,
        labels: Floats,
        inside: npt.NDArray[np.bool_],
    ) -> None:
        for value, rows in rows_by_value:
            counted = inside[:, 0] & rows
            if counted.any():
                name = value if value in known or len(known) < MOST_VALUES else OTHER
                _add(known.setdefault(name, Quality()), predictions[:, 0], losses[:, 0], labels[:, 0], counted)

    def take(self) -> dict[str, Any]:
        """The sums since the last call, in the manifest's form; what is taken is forgotten here."""
        self._count()
        taken, self._buckets = self._buckets, {}
        return {str(start): taken[start].to_json() for start in sorted(taken)}


def _add(quality: Quality, predictions: Floats, losses: Floats, labels: Floats, counted: npt.NDArray[np.bool_]) -> None:
    positive = labels[counted] > 0.5
    places = bins(predictions[counted])
    quality.samples += int(counted.sum())
    quality.positives += int(positive.sum())
    quality.log_loss_sum += float(losses[counted].sum(dtype=np.float64))
    quality.prediction_sum += float(predictions[counted].sum(dtype=np.float64))
    np.add.at(quality.positive_histogram, places[positive], 1)
    np.add.at(quality.negative_histogram, places[~positive], 1)


def _in_one(told: Sequence[_Told]) -> _Told:
    return _Told(
        np.concatenate([each.predictions for each in told]),
        np.concatenate([each.losses for each in told]),
        np.concatenate([each.labels for each in told]),
        np.concatenate([each.weights for each in told]),
        np.concatenate([each.impression_ms for each in told]),
        [
            pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type)
            for columns in zip(*(each.sliced for each in told), strict=True)
        ],
    )


def _by_value(column: Any) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Each value of a column, as text, and the rows that have it."""
    column = column.combine_chunks()
    text = pc.fill_null(column.cast(pa.string()), MISSING)
    coded = text.dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    codes = coded.indices.to_numpy(zero_copy_only=False)
    for code, value in enumerate(coded.dictionary.to_pylist()):
        yield value, codes == code
