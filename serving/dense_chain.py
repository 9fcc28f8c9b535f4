"""Finds the chains of dense layers in a stored graph, and what of the graph is left beside one; runs nothing.

A chain is products with weights, each with its bias and its cut at zero, one after the other and read by nobody else:
what a processor's matrix unit can run as a whole.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from serving.dense_graph import INPUT, OUTPUT, WEIGHT

# Weights of a chain below which another call costs more than it saves, where LiteRT runs the rest of the graph, and
# below which it does not matter what each product costs.
FEWEST_WEIGHTS: Final = 1 << 15
# The place of a reader that waits for a node and does not read what it makes.
CONTROL: Final = -1
SUMS: Final = frozenset({"AddV2", "Add", "BiasAdd"})


@dataclass(frozen=True)
class ChainLayer:
    """One layer: the node of its product, the numbers of its weights, and whether it cuts off what is below zero."""

    node: str
    weight: int
    bias: int | None
    relu: bool


@dataclass(frozen=True)
class Chain:
    """Layers one after the other.

    Attributes:
        source: The tensor that the first layer reads.
        layers: At least one.
        target: The tensor that the last layer makes, with a sigmoid behind it where there is one.
        sigmoid: Whether there is one.
        last: Whether what it makes are the predictions.
        weights: How many numbers its products are made with.
    """

    source: str
    layers: tuple[ChainLayer, ...]
    target: str
    sigmoid: bool
    last: bool
    weights: int

    @property
    def whole(self) -> bool:
        """Whether nothing is left beside it."""
        return self.last and self.source == f"{INPUT}:0"

    @classmethod
    def of(cls, graph: Any) -> list[Chain]:
        """The chains that are worth it, those with the most weights first.

        Args:
            graph: A GraphDef as `dense_graph.read_graph` lets it pass.
        """
        worth_it = [one for one in _Nodes(graph).chains() if one.whole or one.weights >= FEWEST_WEIGHTS]
        return sorted(worth_it, key=lambda chain: chain.weights, reverse=True)


def reached(graph: Any, tensor: str, replaced: Collection[str] = ()) -> frozenset[str]:
    """The placeholders that ``tensor`` is computed of, where the tensors ``replaced`` are given."""
    nodes = {node.name: node for node in graph.node}
    found = _behind(nodes, tensor, {name.partition(":")[0] for name in replaced})
    return frozenset(name for name in found if nodes[name].op == "Placeholder")


def _behind(nodes: Mapping[str, Any], tensor: str, given: Collection[str]) -> set[str]:
    """The nodes that ``tensor`` is computed of, its own among them, but for those ``given`` and what only they need."""
    seen: set[str] = set()
    left = [tensor]
    while left:
        name = left.pop().removeprefix("^").partition(":")[0]
        if name not in seen and name not in given:
            seen.add(name)
            left += nodes[name].input
    return seen


class _Nodes:
    """A graph by name, and who reads whom, but for what the predictions do not need."""

    def __init__(self, graph: Any) -> None:
        nodes = {node.name: node for node in graph.node}
        needed = _behind(nodes, OUTPUT, ())
        self._nodes = {name: node for name, node in nodes.items() if name in needed}
        self._readers: dict[str, list[tuple[Any, int]]] = defaultdict(list)
        for node in self._nodes.values():
            for at, source in enumerate(node.input):
                place = CONTROL if source.startswith("^") else at
                self._readers[source.removeprefix("^").partition(":")[0]].append((node, place))

    def chains(self) -> list[Chain]:
        """All chains, each as long as it goes."""
        layers, ends = {}, {}
        for node in self._nodes.values():
            weight = self._weight(node.input[1], 2) if node.op == "MatMul" else None
            if weight is not None and not node.attr["transpose_a"].b and not node.attr["transpose_b"].b:
                layers[node.name], ends[node.name] = self._layer(node, weight)
        after = {name: self._next_product(end, layers) for name, end in ends.items()}
        followers = set(after.values())
        found = []
        for name in layers:
            if name in followers:
                continue
            names = [name]
            while (following := after[names[-1]]) is not None:
                names.append(following)
            last, sigmoid = ends[names[-1]], False
            if (reader := self._only_reader(last)) is not None and reader[0].op == "Sigmoid":
                last, sigmoid = reader[0].name, True
            source, _, output = self._nodes[name].input[0].partition(":")
            entry = f"{INPUT}:0" if self.origin(source) == INPUT else f"{source}:{output or 0}"
            chained = tuple(layers[each] for each in names)
            weights = sum(math.prod(self._shape(f"{WEIGHT}{layer.weight}")) for layer in chained)
            found.append(Chain(entry, chained, f"{last}:0", sigmoid, self.origin(OUTPUT) == last, weights))
        return found

    def origin(self, tensor: str) -> str:
        """The node behind identities."""
        node = self._nodes[tensor.partition(":")[0]]
        while node.op == "Identity":
            node = self._nodes[node.input[0].partition(":")[0]]
        return str(node.name)

    def _layer(self, product: Any, weight: int) -> tuple[ChainLayer, str]:
        """The layer that begins with a product, and the node that ends it."""
        end, bias, relu = product.name, None, False
        width = self._shape(f"{WEIGHT}{weight}")[1]
        reader = self._only_reader(end)
        if reader is not None and reader[0].op in SUMS:
            number = self._weight(reader[0].input[1 - reader[1]], 1)
            if number is not None and self._shape(f"{WEIGHT}{number}") == [width]:
                end, bias = reader[0].name, number
                reader = self._only_reader(end)
        if reader is not None and reader[0].op == "Relu":
            end, relu = reader[0].name, True
        return ChainLayer(product.name, weight, bias, relu), end

    def _next_product(self, end: str, layers: Collection[str]) -> str | None:
        reader = self._only_reader(end)
        return reader[0].name if reader is not None and reader[0].name in layers and reader[1] == 0 else None

    def _only_reader(self, name: str) -> tuple[Any, int] | None:
        """Who alone reads a node, behind identities, and at which place."""
        while True:
            readers = self._readers[name]
            if len(readers) != 1 or readers[0][1] == CONTROL:
                return None
            if readers[0][0].op != "Identity":
                return readers[0]
            name = readers[0][0].name

    def _weight(self, tensor: str, rank: int) -> int | None:
        """The number of a weight of that rank, or None where the tensor is something else."""
        name = self.origin(tensor)
        if self._nodes[name].op != "Placeholder" or name == INPUT or len(self._shape(name)) != rank:
            return None
        return int(name.removeprefix(WEIGHT))

    def _shape(self, placeholder: str) -> list[int]:
        return [dim.size for dim in self._nodes[placeholder].attr["shape"].shape.dim]
