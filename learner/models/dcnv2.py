"""DCN-v2: explicit crosses of bounded degree beside a network; must not know the tables or the loss."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

from learner.models.chain import build_layers, dense_layers, output_layer, run_layers
from learner.models.layout import Layout
from learner.tensorflow_setup import keras, tf


class DeepAndCrossNetwork(keras.Model):  # type: ignore[misc]
    """``x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l``; ``logits = W [x_L, network(x_0)] + b``.

    Wang et al., "DCN V2: Improved Deep & Cross Network", WWW 2021, equation 1, in its parallel structure; with a rank
    r, ``W_l = U_l V_l`` with ``V_l [d, r]`` and ``U_l [r, d]`` (equation 4, one expert). x_0 is the whole input, whose
    padding is zero and stays so under every cross.

    Args:
        layout: Any; the id blocks may have different widths.
        labels: How many labels are predicted.
        cross_layers: How many crosses; L of them reach degree L + 1.
        cross_rank: The rank of a cross's matrix; None: full.
        hidden: Widths of the network's hidden layers; none leaves the crosses alone.
        seed: Seeds the first weights.

    Shapes:
        input ``[B, stride]`` float32, output logits ``[B, labels]`` float32.
    """

    def __init__(
        self, layout: Layout, labels: int, cross_layers: int, cross_rank: int | None, hidden: Sequence[int], seed: int
    ) -> None:
        super().__init__(name="dcnv2")
        self._width = layout.stride
        self._rank = cross_rank
        self._cross_layers = cross_layers
        self._seed = seed
        self._hidden = dense_layers(hidden, seed)
        self._cross_output = output_layer(labels, seed + len(self._hidden), name="cross_output")
        self._output = output_layer(labels, seed + len(self._hidden) + 1, bias=False)

    def build(self, input_shape: object) -> None:
        """Creates the weights."""
        self._kernels: list[list[keras.Variable]] = []
        self._biases: list[keras.Variable] = []
        for depth in range(self._cross_layers):
            shapes = {"kernel": (self._width, self._width)}
            if self._rank is not None:
                shapes = {"reduce": (self._width, self._rank), "expand": (self._rank, self._width)}
            self._kernels.append(
                [
                    self.add_weight(
                        name=f"cross_{depth}_{part}",
                        shape=shape,
                        initializer=keras.initializers.GlorotUniform(seed=self._seed + 1_000 + 2 * depth + place),
                    )
                    for place, (part, shape) in enumerate(shapes.items())
                ]
            )
            self._biases.append(self.add_weight(name=f"cross_{depth}_bias", shape=(self._width,), initializer="zeros"))
        self._cross_output.build((None, self._width))
        width = build_layers(self._hidden, self._width)
        if self._hidden:
            self._output.build((None, width))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns logits ``[B, labels]``."""
        crossed = inputs
        for kernels, bias in zip(self._kernels, self._biases, strict=True):
            projected = crossed
            for kernel in kernels:
                projected = tf.matmul(projected, tf.convert_to_tensor(kernel))
            crossed += inputs * (projected + bias)
        logits = self._cross_output(crossed)
        if self._hidden:
            logits += self._output(run_layers(self._hidden, inputs))
        return logits
