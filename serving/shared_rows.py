"""Splits a dense program where part of its input is the same for all rows: that part's share of the first layers is
computed once. Knows graphs and columns, no request.

Only products of the whole input with a weight are split, ``rows @ W = rows[:, own] @ W[own] + once @ W[rest]``; what
else reads the input reads all of it, so that any program may be split, and none is changed in what it computes.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.dense_graph import INPUT, WEIGHT
from serving.tensorflow_runtime import tf

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FirstLayer:
    """A product of the input with a weight: the node's name and the weight's number."""

    node: str
    weight: int


@dataclass(frozen=True, eq=False)
class Split:
    """How a graph is split.

    Attributes:
        layers: The products that are split.
        shared: Columns of the input that are the same for all rows, int64 [s], ascending.
        own: The other columns, int64 [stride - s], ascending.
        own_only: Whether the program of the rest takes these alone, since nothing but the layers reads the input.
    """

    layers: tuple[FirstLayer, ...]
    shared: npt.NDArray[np.int64]
    own: npt.NDArray[np.int64]
    own_only: bool

    @classmethod
    def of(cls, definition: Any, stride: int, shared: npt.NDArray[np.int64]) -> Split | None:
        """The split of a graph, or None where nothing is won by one.

        Args:
            definition: A GraphDef as `dense_graph.read_graph` lets it pass.
            stride: Columns of the input.
            shared: Columns that are the same for all rows.
        """
        layers, own_only = _first_layers(definition)
        own = np.setdiff1d(np.arange(stride), shared)
        if not layers or not len(shared):
            return None
        return cls(layers, np.unique(shared), own, own_only and len(own) > 0)

    @property
    def columns(self) -> int:
        """Columns that the program of the rest takes."""
        return len(self.own) if self.own_only else len(self.own) + len(self.shared)

    def rest(self, rows: Rows) -> Rows:
        """Of whole rows what the program of the rest takes."""
        return rows.take(self.own, axis=1) if self.own_only else rows

    def weights(self, weights: Sequence[Rows]) -> list[Rows]:
        """The weights that the split program takes, of all the graph's."""
        split = {layer.weight for layer in self.layers}
        return [weight[self.own] if index in split else weight for index, weight in enumerate(weights)]

    def once(self, weights: Sequence[Rows]) -> list[Rows]:
        """Per layer the part of its weight ``[s, n]`` that meets the shared columns."""
        return [np.ascontiguousarray(weights[layer.weight][self.shared]) for layer in self.layers]

    def replaced(self, rows: Any, once: Sequence[Any], weights: Sequence[Any]) -> dict[str, Any]:
        """What the graph's tensors are replaced by, as TensorFlow operations.

        Args:
            rows: What the program of the rest takes, ``[rows, columns]``.
            once: Per layer what the shared columns add, ``[1, n]``.
            weights: As :meth:`weights` gives them.
        """
        own = rows if self.own_only else tf.concat([rows[:, begin:end] for begin, end in _runs(self.own)], axis=1)
        return {
            f"{layer.node}:0": tf.matmul(own, weights[layer.weight]) + added
            for layer, added in zip(self.layers, once, strict=True)
        }


def met_once(shared: Rows | None, weights: Sequence[Rows]) -> list[Rows]:
    """What the shared numbers ``[s]`` make of each weight ``[s, n]``, as inputs of one row; no numbers, no inputs."""
    return [] if shared is None else [shared[np.newaxis] @ weight for weight in weights]


def _first_layers(definition: Any) -> tuple[tuple[FirstLayer, ...], bool]:
    """The products of the input with a weight, and whether nothing else reads the input."""
    nodes = {node.name: node for node in definition.node}
    readers: dict[str, int] = {}
    for node in definition.node:
        for source in node.input:
            readers[source.partition(":")[0]] = readers.get(source.partition(":")[0], 0) + 1

    def origin(name: str) -> str | None:
        """The placeholder behind identities that nobody else reads."""
        node = nodes[name.partition(":")[0]]
        while node.op == "Identity" and readers[node.name] == 1:
            node = nodes[node.input[0].partition(":")[0]]
        return node.name if node.op == "Placeholder" else None

    found = []
    for node in definition.node:
        if node.op != "MatMul" or node.attr["transpose_a"].b or node.attr["transpose_b"].b:
            continue
        rows, weight = origin(node.input[0]), origin(node.input[1])
        if rows == INPUT and weight is not None and weight.startswith(WEIGHT) and readers[weight] == 1:
            found.append(FirstLayer(node.name, int(weight.removeprefix(WEIGHT))))
    return tuple(found), readers.get(INPUT, 0) == len(found)


def _runs(columns: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ascending numbers as half-open ranges."""
    breaks = np.flatnonzero(np.diff(columns) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(columns, breaks) if len(run)]
