"""A model of one's own: pairwise products of two features beside a network; docs/models.md explains the contract."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import keras

from springtide import Layout


class TwoTowers(keras.Model):
    """``logit = b + <user row, item row> / √width + network(input)``."""

    def __init__(self, layout: Layout, labels: int, seed: int, user: str, item: str, width: int) -> None:
        super().__init__(name="two_towers")
        self.layout, self.user, self.item = layout, user, item
        draw = keras.initializers.GlorotUniform
        self.inner = keras.layers.Dense(width, "relu", name="inner", kernel_initializer=draw(seed))
        self.outer = keras.layers.Dense(labels, name="outer", kernel_initializer=draw(seed + 1))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.inner.build(input_shape)
        self.outer.build((None, self.inner.units))
        self.built = True

    def call(self, inputs, training=False):
        user, item = self.layout.row_of(inputs, self.user), self.layout.row_of(inputs, self.item)
        match = keras.ops.sum(user * item, axis=1, keepdims=True) / user.shape[1] ** 0.5
        return match + self.outer(self.inner(inputs))


def build(layout: Layout, labels: int, seed: int, *, user: str, item: str, width: int = 32) -> keras.Model:
    """What pipeline.yaml names; everything after the `*` comes from `model.settings`."""
    return TwoTowers(layout, labels, seed, user, item, width)
