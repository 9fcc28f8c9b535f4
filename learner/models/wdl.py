"""Wide & Deep: a linear part beside a network on the same rows; must not know the tables or the loss."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

from infra.errors import Invalid
from learner.models.chain import build_layers, dense_layers, output_layer, run_layers
from learner.models.layout import Layout
from learner.tensorflow_setup import keras, tf


class WideAndDeep(keras.Model):  # type: ignore[misc]
    """``logit_k = b_k + Σ_f l_fk + w_k · numbers + network(input)_k``.

    Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS 2016. The pooled row of feature f is
    ``(l_f, v_f)``: its first coordinates, one per label, are its weights in the wide part, the others its embedding.
    The paper's crossed features are features of the pipeline, if wanted, with a table like any other.

    Args:
        layout: Every id block is wider than there are labels; widths may differ.
        labels: How many labels are predicted.
        hidden: Widths of the network's hidden layers, ReLU between them; none leaves the wide part alone.
        seed: Seeds the network's first weights; the others begin at zero.

    Shapes:
        input ``[B, stride]`` float32, output logits ``[B, labels]`` float32. The network reads the whole input: a
        slice would copy it.

    Raises:
        Invalid: A table's dim leaves no embedding, or a feature is a sequence.
    """

    def __init__(self, layout: Layout, labels: int, hidden: Sequence[int], seed: int) -> None:
        super().__init__(name="wdl")
        layout.refuse_sequences("wdl")
        for block in layout.ids:
            if block.width <= labels:
                raise Invalid(
                    f"model `wdl`: the table of feature `{block.name}` has dim {block.width}",
                    wanted=f"at least {labels + 1}: a weight for each label, and an embedding",
                    cure="raise `dim` in that table, or choose model `lr`",
                )
        self._layout = layout
        self._labels = labels
        self._hidden = dense_layers(hidden, seed)
        self._output = output_layer(labels, seed + len(self._hidden), bias=False)

    def build(self, input_shape: object) -> None:
        """Creates the weights."""
        self.bias = self.add_weight(name="bias", shape=(self._labels,), initializer="zeros")
        if self._layout.numbers:
            self.numbers_kernel = self.add_weight(
                name="numbers_kernel", shape=(self._layout.numbers, self._labels), initializer="zeros"
            )
        width = build_layers(self._hidden, self._layout.stride)
        if self._hidden:
            self._output.build((None, width))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns logits ``[B, labels]``."""
        layout = self._layout
        terms = [inputs[:, block.offset : block.offset + self._labels] for block in layout.ids]
        logits = tf.zeros_like(inputs[:, : self._labels]) + self.bias
        if terms:
            logits += tf.add_n(terms)
        if layout.numbers:
            logits += tf.matmul(layout.numbers_of(inputs), tf.convert_to_tensor(self.numbers_kernel))
        if self._hidden:
            logits += self._output(run_layers(self._hidden, inputs))
        return logits
