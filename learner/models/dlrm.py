"""DLRM: dot products between all pairs of features, then a network; must not know the tables or the loss."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infra.errors import Invalid
from learner.models.chain import build_layers, dense_layers, output_layer, run_layers
from learner.models.layout import Layout
from learner.tensorflow_setup import keras, tf


class DotProducts(keras.Model):  # type: ignore[misc]
    """``logits = top([z, (<t_i, t_j>)_{i<j}])``, ``t = (z, v_1, …, v_n)``, ``z = bottom(numbers)``.

    Naumov et al., "Deep Learning Recommendation Model for Personalization and Recommendation Systems",
    arXiv 1906.00091. v_f is the pooled row of feature f. Without numbers there is no z.

    Args:
        layout: At least one id block, all of one width d.
        labels: How many labels are predicted.
        bottom: Hidden widths of the network over the numbers; its output is d wide.
        hidden: Hidden widths of the top network.
        seed: Seeds the first weights.

    Shapes:
        input ``[B, stride]`` float32, output logits ``[B, labels]`` float32.

    Raises:
        Invalid: Tables of different dims, or no id feature.
    """

    def __init__(self, layout: Layout, labels: int, bottom: Sequence[int], hidden: Sequence[int], seed: int) -> None:
        super().__init__(name="dlrm")
        self._width = layout.common_width("dlrm")
        if not layout.ids:
            raise Invalid(
                "model `dlrm`: no id feature, so there is no pair",
                wanted="at least one feature of kind id",
                cure="choose model `lr` or `dcnv2`",
            )
        self._layout = layout
        terms = len(layout.ids) + (layout.numbers > 0)
        # The matrix of all dot products is symmetric: what stands above its diagonal, as places in its flat form.
        self._pairs = np.flatnonzero(np.triu(np.ones((terms, terms)), k=1)).astype(np.int32)
        self._bottom = dense_layers([*bottom, self._width], seed + 1_000, "bottom") if layout.numbers else []
        self._top = dense_layers(hidden, seed)
        self._output = output_layer(labels, seed + len(self._top))

    def build(self, input_shape: object) -> None:
        """Creates the weights."""
        build_layers(self._bottom, self._layout.numbers)
        width = len(self._pairs) + (self._width if self._bottom else 0)
        self._output.build((None, build_layers(self._top, width)))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns logits ``[B, labels]``."""
        layout = self._layout
        ids = len(layout.ids)
        terms = tf.reshape(inputs[:, : ids * self._width], [-1, ids, self._width])
        dense = []
        if self._bottom:
            dense = [run_layers(self._bottom, layout.numbers_of(inputs))]
            terms = tf.concat([dense[0][:, None, :], terms], axis=1)
            ids += 1
        products = tf.reshape(tf.matmul(terms, terms, transpose_b=True), [-1, ids * ids])
        pairs = tf.gather(products, self._pairs, axis=1)
        return self._output(run_layers(self._top, tf.concat([*dense, pairs], axis=1)))
