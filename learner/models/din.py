"""DIN: a history pooled by how well each of its items fits the candidate; must not know the tables or the loss."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

from infra.errors import Invalid
from learner.models.chain import build_layers, dense_layers, output_layer, run_layers
from learner.models.layout import IdBlock, Layout
from learner.tensorflow_setup import keras, tf


class DeepInterestNetwork(keras.Model):  # type: ignore[misc]
    """``logits = network([x', u])``, ``u = Σ_j a(e_j, v) e_j``, ``a(e, v) = w · unit([e, v, e - v, e ⊙ v]) + b``.

    Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018, equation 3: v is the candidate's
    row, e_j those of the history, x' the input without the history's rows. The weights a are not normalised, so that u
    also tells how strong the interest is. Here ReLU stands for Dice, and difference and product for the outer product.

    Nothing is masked: a place without an id holds zeros, so that it adds a(0, v) · 0 = 0, and the weights of the unit
    get no gradient from it either.

    Args:
        layout: The history is a sequence as wide as the candidate's row; the other blocks may have any width.
        labels: How many labels are predicted.
        candidate: The id feature of what is scored.
        history: The sequence feature.
        attention: Widths of the activation unit's hidden layers.
        hidden: Widths of the network's hidden layers.
        seed: Seeds the first weights.

    Shapes:
        input ``[B, stride]`` float32, output logits ``[B, labels]`` float32; the unit reads ``[B, L, 4 dim]``, the
        network ``[B, stride - L dim + dim]``.

    Raises:
        Invalid: There are no such features, or their rows differ in width.
    """

    def __init__(
        self,
        layout: Layout,
        labels: int,
        candidate: str | None,
        history: str | None,
        attention: Sequence[int],
        hidden: Sequence[int],
        seed: int,
    ) -> None:
        super().__init__(name="din")
        self._layout = layout
        self._candidate, self._history = _pair(layout, candidate, history)
        self._unit = [
            *dense_layers(attention, seed, name="attention"),
            output_layer(1, seed + 1_000, name="attention_output"),
        ]
        self._network = [*dense_layers(hidden, seed + 2_000), output_layer(labels, seed + 3_000)]

    def build(self, input_shape: object) -> None:
        """Creates the weights."""
        dim = self._history.dim
        build_layers(self._unit, 4 * dim)
        build_layers(self._network, self._layout.stride - self._history.width + dim)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns logits ``[B, labels]``."""
        block = self._history
        history = self._layout.sequence_of(inputs, block.name)
        candidate = self._layout.row_of(inputs, self._candidate.name)[:, None, :] + tf.zeros_like(history)
        pairs = tf.concat([history, candidate, history - candidate, history * candidate], axis=2)
        fits = run_layers(self._unit, tf.reshape(pairs, [-1, 4 * block.dim]))
        interest = tf.reduce_sum(tf.reshape(fits, [-1, block.length, 1]) * history, axis=1)
        before, after = inputs[:, : block.offset], inputs[:, block.offset + block.width :]
        return run_layers(self._network, tf.concat([before, after, interest], axis=1))


def _pair(layout: Layout, candidate: str | None, history: str | None) -> tuple[IdBlock, IdBlock]:
    blocks = {block.name: block for block in layout.ids}
    one, many = blocks.get(candidate or ""), blocks.get(history or "")
    if one is None or one.length or many is None or not many.length:
        raise Invalid(
            f"model `din`: candidate `{candidate}`, history `{history}`",
            wanted="the name of a feature with one row and that of a sequence (combiner none)",
            cure="name them in `model.candidate` and `model.history`",
        )
    if one.dim != many.dim:
        raise Invalid(
            f"model `din`: rows of `{one.name}` have {one.dim} values, those of `{many.name}` {many.dim}",
            wanted="one dim for both",
            cure="let both features name the same table",
        )
    return one, many
