"""What can be done with a batch before it is learned: decoding and encoding; must not know any state of the model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from infra.kafka.batch import Batch
from kernels.features import EncodedBatch, FeatureEncoder
from learner.decode import Rejected, SampleDecoder, Samples

# A number beyond this tells of a broken producer, and one of them would spoil the sums that a model keeps.
LARGEST_NUMBER: Final = 1e12

Timer = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Lesson:
    """Samples that can be learned, encoded but not scaled.

    Args:
        samples: Those with weight, a label and no number out of range.
        encoded: Their features.
        rejected: What was set aside for a number out of range, by place in the batch.
    """

    samples: Samples
    encoded: EncodedBatch
    rejected: list[Rejected]


@dataclass(frozen=True)
class Ready:
    """A batch as far as it goes without the model's state.

    Args:
        batch: The messages.
        samples: Every readable one, its times not after the moment when Kafka took it in.
        rejected: What could not be read, by place in the batch.
        lesson: What there is to learn, if none of the samples was learned before.
    """

    batch: Batch
    samples: Samples
    rejected: list[Rejected]
    lesson: Lesson


class Preparation:
    """Messages to lessons; holds no state, so that it may run ahead of learning on another thread.

    Args:
        decoder: Messages to columns.
        encoder: Columns to ids and numbers.
        timer: Times the parts.
    """

    def __init__(self, decoder: SampleDecoder, encoder: FeatureEncoder, timer: Timer) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self._timer = timer

    def ready(self, batch: Batch) -> Ready:
        """Decodes and encodes a batch."""
        with self._timer("decode"):
            samples, rejected = self._decoder.decode(batch.values)
        samples = samples.not_after(batch.timestamps_ms[samples.index])
        return Ready(batch, samples, rejected, self.lesson(samples))

    def lesson(self, samples: Samples) -> Lesson:
        """What there is to learn from ``samples``."""
        with self._timer("encode"):
            teaches = _teaches(samples)
            usable = samples if teaches.all() else samples.select(np.flatnonzero(teaches))
            encoded = self._encode(usable)
            wild = _out_of_range(encoded)
            rejected: list[Rejected] = []
            if wild.any():
                rejected = [Rejected(int(place), "a number is out of range") for place in usable.index[wild]]
                usable = usable.select(np.flatnonzero(~wild))
                encoded = self._encode(usable)
        return Lesson(usable, encoded, rejected)

    def _encode(self, samples: Samples) -> EncodedBatch:
        return self._encoder.encode(dict(zip(samples.columns.column_names, samples.columns.columns, strict=True)))


def _teaches(samples: Samples) -> npt.NDArray[np.bool_]:
    """Samples of weight 0 (probes) and without any label leave the model as it is, momentum included."""
    return np.asarray((samples.weights > 0) & ~np.isnan(samples.labels).all(axis=1), np.bool_)


def _out_of_range(encoded: EncodedBatch) -> npt.NDArray[np.bool_]:
    wild = np.zeros(encoded.rows, np.bool_)
    for numbers in (encoded.numbers, encoded.unscaled):
        if numbers.size:
            # NaN stands for a missing value and compares false.
            wild |= (np.abs(numbers.astype(np.float64)) > LARGEST_NUMBER).any(axis=1)
    return wild
