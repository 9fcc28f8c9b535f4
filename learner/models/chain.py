"""A chain of dense layers with seeded first weights; must not know features or labels."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

from learner.tensorflow_setup import keras, tf


def dense_layers(widths: Sequence[int], seed: int, name: str = "hidden") -> list[keras.layers.Dense]:
    """ReLU layers called ``<name>_0``, ``<name>_1``, … with Glorot-uniform kernels (Glorot and Bengio, 2010).

    Args:
        widths: Units of each layer.
        seed: Layer i draws its kernel from ``seed + i``.
        name: Begins every layer's name.
    """
    return [
        keras.layers.Dense(
            units,
            activation="relu",
            name=f"{name}_{depth}",
            kernel_initializer=keras.initializers.GlorotUniform(seed=seed + depth),
        )
        for depth, units in enumerate(widths)
    ]


def output_layer(labels: int, seed: int, name: str = "output", bias: bool = True) -> keras.layers.Dense:
    """The last layer of a chain: logits, one per label."""
    return keras.layers.Dense(
        labels, use_bias=bias, name=name, kernel_initializer=keras.initializers.GlorotUniform(seed=seed)
    )


def build_layers(layers: Sequence[keras.layers.Dense], width: int) -> int:
    """Creates the weights of a chain whose input is ``width`` wide; returns the width of its output."""
    for layer in layers:
        layer.build((None, width))
        width = layer.units
    return width


def run_layers(layers: Sequence[keras.layers.Dense], inputs: tf.Tensor) -> tf.Tensor:
    """``[B, width]`` through the chain."""
    for layer in layers:
        inputs = layer(inputs)
    return inputs
