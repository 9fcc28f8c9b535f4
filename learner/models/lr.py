"""Logistic regression over pooled rows and numbers; must not know the tables or the loss."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from infra.errors import Invalid
from learner.models.layout import Layout
from learner.tensorflow_setup import keras, tf


class LogisticRegression(keras.Model):  # type: ignore[misc]
    """``logit = b + Σ_f row_f + w · numbers``.

    McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013 (the model, not its optimizer). A row
    holds one weight for each label.

    Args:
        layout: Every id block is as wide as there are labels.
        labels: How many labels are predicted.

    Shapes:
        input ``[B, stride]`` float32, output logits ``[B, labels]`` float32; weights: bias ``[labels]``, numbers
        ``[numbers, labels]`` where there are numbers.

    Raises:
        Invalid: A table's dim is not the number of labels, or a feature is a sequence.
    """

    def __init__(self, layout: Layout, labels: int) -> None:
        super().__init__(name="lr")
        layout.refuse_sequences("lr")
        for block in layout.ids:
            if block.width != labels:
                raise Invalid(
                    f"model `lr`: the table of feature `{block.name}` has dim {block.width}",
                    wanted=f"dim {labels}, one weight for each label",
                    cure=f"set `dim: {labels}` in that table, or choose model `deepfm`",
                )
        self._layout = layout
        self._labels = labels

    def build(self, input_shape: object) -> None:
        """Creates the weights, all zero: before the first sample every prediction is one half."""
        self.bias = self.add_weight(name="bias", shape=(self._labels,), initializer="zeros")
        if self._layout.numbers:
            self.numbers_kernel = self.add_weight(
                name="numbers_kernel", shape=(self._layout.numbers, self._labels), initializer="zeros"
            )
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns logits ``[B, labels]``."""
        layout = self._layout
        logits = tf.zeros_like(inputs[:, : self._labels]) + self.bias
        if layout.ids:
            rows = inputs[:, : len(layout.ids) * self._labels]
            logits += tf.reduce_sum(tf.reshape(rows, [-1, len(layout.ids), self._labels]), axis=1)
        if layout.numbers:
            logits += tf.matmul(layout.numbers_of(inputs), tf.convert_to_tensor(self.numbers_kernel))
        return logits
