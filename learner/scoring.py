"""Scores samples with any weights, as the step would before learning; must not know where weights come from."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.batch import EncodedBatch
from learner.step import TrainingStep
from learner.tensorflow_setup import tf
from learner.witness import Chunk

Floats = npt.NDArray[np.float32]


class Scorer:
    """The model's forward pass with weights as arguments; may be called from many threads.

    What a loss has learned for itself counts as it stands.

    Args:
        step: Whose model and loss.
        stride: Columns of the input.
        labels: How many labels.
    """

    def __init__(self, step: TrainingStep, stride: int, labels: int) -> None:
        self._step = step
        self._labels = labels
        weights = step.model.weights
        self._function = tf.function(self._trace, autograph=False).get_concrete_function(
            tf.TensorSpec([None, stride], tf.float32),
            tf.TensorSpec([None, labels], tf.float32),
            tf.TensorSpec([3, None], tf.float32),
            *(tf.TensorSpec(weight.shape, weight.dtype) for weight in weights),
        )

    def score(
        self, chunks: Sequence[Chunk], lookup: Callable[[EncodedBatch], Floats], weights: Sequence[Any]
    ) -> tuple[Floats, Floats]:
        """Losses and predictions, ``[n, labels]`` each.

        Args:
            chunks: The samples.
            lookup: Gives the rows of a batch, ``[rows, stride]``.
            weights: All dense weights, in the model's order.
        """
        if not chunks:
            nothing = np.empty((0, self._labels), np.float32)
            return nothing, nothing
        inputs = np.concatenate([lookup(chunk.encoded) for chunk in chunks])
        labels = np.concatenate([chunk.labels for chunk in chunks])
        traits = np.zeros((3, len(labels)), np.float32)
        traits[1] = np.concatenate([chunk.log_rates for chunk in chunks])
        arguments = [tf.convert_to_tensor(each) for each in (inputs, labels, traits, *weights)]
        predictions, losses = self._function(*arguments)
        return np.array(losses), np.array(predictions)

    def _trace(self, inputs: Any, labels: Any, traits: Any, *weights: Any) -> tuple[Any, Any]:
        model = self._step.model
        by_path = dict(zip((weight.path for weight in model.weights), weights, strict=True))
        logits, _ = model.stateless_call(
            [by_path[weight.path] for weight in model.trainable_variables],
            [by_path[weight.path] for weight in model.non_trainable_variables],
            inputs,
            training=False,
        )
        return self._step.told(logits, inputs, self._step.targets(labels, traits))
