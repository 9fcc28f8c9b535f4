"""MMoE: several labels share experts, each through a gate of its own; must not know the tables or the loss."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from infra.errors import Invalid
from learner.models.layout import Layout
from learner.tensorflow_setup import keras, tf


class MultiGateMixtureOfExperts(keras.Model):  # type: ignore[misc]
    """``logit_k = tower_k(Σ_i g_ki f_i(x))``, ``g_k = softmax(G_k x)``.

    Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018.
    The experts f_i are ReLU networks of the same shape; every label has a gate without bias and a tower. All experts,
    and all towers, are one stacked multiplication.

    Args:
        layout: Any; the id blocks may have different widths.
        labels: How many labels are predicted.
        experts: How many experts.
        hidden: Widths of an expert's layers, the last one too; at least one.
        tower: Hidden widths of a tower; may be empty.
        seed: Seeds the first weights.

    Shapes:
        input ``[B, stride]`` float32, output logits ``[B, labels]`` float32; kernels of experts
        ``[experts, in, out]``, gates ``[labels, stride, experts]``, kernels of towers ``[labels, in, out]``.

    Raises:
        Invalid: An expert without a layer.
    """

    def __init__(
        self, layout: Layout, labels: int, experts: int, hidden: Sequence[int], tower: Sequence[int], seed: int
    ) -> None:
        super().__init__(name="mmoe")
        if not hidden:
            raise Invalid(
                "model `mmoe`: `hidden` is empty, so an expert has no layer",
                wanted="at least one width",
                cure="set `hidden`, such as [64]",
            )
        self._stride, self._labels, self._experts = layout.stride, labels, experts
        self._hidden, self._tower, self._seed = list(hidden), list(tower), seed

    def build(self, input_shape: object) -> None:
        """Creates the weights."""
        self._expert_layers, width = self._stack("expert", self._experts, self._stride, self._hidden, self._seed)
        self.gates = self.add_weight(
            name="gates",
            shape=(self._labels, self._stride, self._experts),
            initializer=_stacked(self._seed + 2_000),
        )
        self._tower_layers, width = self._stack("tower", self._labels, width, self._tower, self._seed + 3_000)
        self._output_layer, _ = self._stack("output", self._labels, width, [1], self._seed + 4_000)
        self.built = True

    def _stack(
        self, name: str, count: int, width: int, widths: Sequence[int], seed: int
    ) -> tuple[list[tuple[keras.Variable, keras.Variable]], int]:
        """``count`` networks of the same widths as one; returns kernels with biases, and the width of the output."""
        layers = []
        for depth, units in enumerate(widths):
            kernel = self.add_weight(
                name=f"{name}_{depth}_kernel",
                shape=(count, width, units),
                initializer=_stacked(seed + depth * 300),
            )
            bias = self.add_weight(name=f"{name}_{depth}_bias", shape=(count, 1, units), initializer="zeros")
            layers.append((kernel, bias))
            width = units
        return layers, width

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns logits ``[B, labels]``."""
        shared = inputs[None]
        expert = _run(self._expert_layers, shared)  # [experts, B, width]
        gates = tf.nn.softmax(tf.matmul(shared, tf.convert_to_tensor(self.gates)))  # [labels, B, experts]
        # Per sample: [B, labels, experts] times [B, experts, width].
        mixed = tf.matmul(tf.transpose(gates, [1, 0, 2]), tf.transpose(expert, [1, 0, 2]))
        tower = _run(self._tower_layers, tf.transpose(mixed, [1, 0, 2]))  # [labels, B, width]
        ((kernel, bias),) = self._output_layer
        logits = tf.matmul(tower, tf.convert_to_tensor(kernel)) + bias  # [labels, B, 1]
        return tf.transpose(logits[:, :, 0])


def _run(layers: Sequence[tuple[keras.Variable, keras.Variable]], inputs: tf.Tensor) -> tf.Tensor:
    for kernel, bias in layers:
        inputs = tf.nn.relu(tf.matmul(inputs, tf.convert_to_tensor(kernel)) + bias)
    return inputs


def _stacked(seed: int) -> Callable[..., Any]:
    """Glorot-uniform kernels, each drawn as if it stood alone: Keras would take the stack for a convolution's."""

    def initialize(shape: Sequence[int], dtype: Any = None) -> Any:
        return tf.stack(
            [keras.initializers.GlorotUniform(seed=seed + place)(shape[1:], dtype) for place in range(shape[0])]
        )

    return initialize
