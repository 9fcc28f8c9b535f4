"""DeepFM: linear part, factorization machine and a small network on one input; must not know the tables."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

from infra.errors import Invalid
from learner.models.chain import build_layers, dense_layers, output_layer, run_layers
from learner.models.layout import Layout
from learner.tensorflow_setup import keras, tf


class DeepFactorizationMachine(keras.Model):  # type: ignore[misc]
    """``logit = b + Σ_f l_f + w · numbers + Σ_{f<g} <v_f, v_g> + network(input)``.

    Guo et al., "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction", IJCAI 2017. The pooled row
    of feature f is ``(l_f, v_f)``: coordinate 0 is its linear weight, the other k - 1 are its factor. The pairwise
    sum is computed in linear time (Rendle, "Factorization Machines", ICDM 2010):
    ``½ Σ_j ((Σ_f v_fj)² - Σ_f v_fj²)``. Numbers enter the linear part and the network.

    Args:
        layout: Every id block has the same width k, at least 2.
        labels: How many labels are predicted; this model has one.
        hidden: Widths of the network's hidden layers, ReLU between them; none leaves a factorization machine.
        seed: Seeds the initial weights.

    Shapes:
        input ``[B, stride]`` float32, output logits ``[B, 1]`` float32. The network reads the whole input, padding
        too, which is zero and so gets no gradient: a slice would copy it.

    Raises:
        Invalid: Several labels, tables of different dims, or of dim 1.
    """

    def __init__(self, layout: Layout, labels: int, hidden: Sequence[int], seed: int) -> None:
        super().__init__(name="deepfm")
        if labels != 1:
            raise Invalid(f"model `deepfm`: {labels} labels", wanted="one", cure="name one kind of feedback")
        self._width = layout.common_width("deepfm")
        if self._width == 1:
            raise Invalid(
                "model `deepfm`: the tables have dim 1, so there is no factor",
                wanted="dim 2 or more",
                cure="raise `dim`, or choose model `lr`",
            )
        self._layout = layout
        self._hidden = dense_layers(hidden, seed)
        self._output = output_layer(1, seed + len(self._hidden), bias=False)

    def build(self, input_shape: object) -> None:
        """Creates the weights; those of the network are seeded, the others zero."""
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")
        if self._layout.numbers:
            self.numbers_kernel = self.add_weight(
                name="numbers_kernel", shape=(self._layout.numbers, 1), initializer="zeros"
            )
        width = build_layers(self._hidden, self._layout.stride)
        if self._hidden:
            self._output.build((None, width))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns logits ``[B, 1]``."""
        layout = self._layout
        logits = tf.zeros_like(inputs[:, :1]) + self.bias
        if layout.ids:
            rows = tf.reshape(inputs[:, : len(layout.ids) * self._width], [-1, len(layout.ids), self._width])
            logits += tf.reduce_sum(rows[:, :, :1], axis=1)
            factors = rows[:, :, 1:]
            pairs = tf.square(tf.reduce_sum(factors, axis=1)) - tf.reduce_sum(tf.square(factors), axis=1)
            logits += 0.5 * tf.reduce_sum(pairs, axis=1, keepdims=True)
        if layout.numbers:
            logits += tf.matmul(layout.numbers_of(inputs), tf.convert_to_tensor(self.numbers_kernel))
        if self._hidden:
            logits += self._output(run_layers(self._hidden, inputs))
        return logits
