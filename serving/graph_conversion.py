"""Converts a graph to what runs it without TensorFlow, whole and in halves, its chain apart; knows no version."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kernels.dense_layers import DenseLayer, DenseLayers
from serving.chain_program import PortableChain
from serving.dense_chain import FEWEST_WEIGHTS, Chain, reached
from serving.dense_graph import INPUT, OUTPUT, WEIGHT
from serving.lite_program import Converted
from serving.lite_template import LiteTemplate, convert
from serving.program import PortableProgram
from serving.shared_rows import Split
from serving.tensorflow_runtime import tf

Rows = npt.NDArray[np.float32]
Shape = tuple[int, ...]
# The graph as operations: rows and all weights, `replaced` tensors by name, and which tensor is wanted.
Imported = Callable[..., Any]
PREDICTION: Final = f"{OUTPUT}:0"
NOT_CUT: Final = "dense_chain_not_cut"
# Chains that are tried one after the other, until LiteRT takes what is beside one.
MOST_TRIED: Final = 3


@dataclass(frozen=True)
class Part:
    """A part of a graph as LiteRT runs it, and the numbers of the weights that it has."""

    template: LiteTemplate
    weights: tuple[int, ...]

    def bind(self, weights: Sequence[Rows]) -> Converted:
        """The part with a version's weights, of which all are given."""
        return self.template.with_weights([weights[number] for number in self.weights])


@dataclass(frozen=True, eq=False)
class ChainTemplate:
    """A graph cut before and behind its chain.

    Attributes:
        chain: The chain.
        head: What is before it, if anything.
        tail: What is behind it, if anything.
        reads_rows: Whether the tail reads the rows.
        split: How first layers are split, the chain's among them; None where none is.
        others: The same of those that are not the chain's.
    """

    chain: Chain
    head: Part | None
    tail: Part | None
    reads_rows: bool
    split: Split | None
    others: Split | None

    def bind(self, weights: Sequence[Rows], parts: int) -> PortableChain:
        """The program of one version, with each number of the chain in so many parts."""
        layers = [
            DenseLayer(weights[one.weight], None if one.bias is None else weights[one.bias], one.relu)
            for one in self.chain.layers
        ]
        own = shared = None
        if self.split is not None:
            first = weights[self.chain.layers[0].weight]
            layers[0] = dataclasses.replace(layers[0], weights=first[self.split.own])
            shared = first[self.split.shared]
            own = None if self.split.own_only else self.split.own
        behind = weights if self.others is None else self.others.weights(weights)
        return PortableChain(
            layers=tuple(layers),
            own=own,
            shared=shared,
            sigmoid=self.chain.sigmoid,
            parts=parts,
            head=None if self.head is None else self.head.bind(weights),
            tail=None if self.tail is None else self.tail.bind(behind),
            reads_rows=self.reads_rows,
            once=() if self.others is None else tuple(self.others.once(weights)),
        )


@dataclass(frozen=True, eq=False)
class Templates:
    """All forms of a graph, by LiteRT alone and with its chain apart, each None where it cannot be had."""

    whole: LiteTemplate
    split: tuple[Split, LiteTemplate] | None
    chain: ChainTemplate | None
    split_chain: ChainTemplate | None

    @property
    def parts(self) -> tuple[int, ...]:
        """In how many parts numbers may be in the forms for the matrix unit, the fastest first; none without them."""
        if self.chain is None:
            return ()
        return (2, 3) if self.chain.chain.weights >= FEWEST_WEIGHTS else (3,)

    def bind(self, graph: str, weights: Sequence[Rows], parts: int | None) -> PortableProgram:
        """The program of one version.

        Args:
            graph: The graph's hash.
            weights: All of them.
            parts: Of each number, in the forms for the matrix unit, where there are such; None takes LiteRT's.
        """
        whole = (
            self.chain.bind(weights, parts) if parts and self.chain is not None else self.whole.with_weights(weights)
        )
        if self.split is None:
            return PortableProgram(graph, whole, None)
        split, template = self.split
        if parts and self.split_chain is not None:
            return PortableProgram(graph, whole, (split, [], self.split_chain.bind(weights, parts)))
        rest = template.with_weights(split.weights(weights))
        return PortableProgram(graph, whole, (split, split.once(weights), rest))


class Conversion:
    """One graph.

    Args:
        definition: A GraphDef as `dense_graph.read_graph` lets it pass.
        imported: The same as TensorFlow operations.
        stride: Columns of its input.
        shapes: Of its weights, all of them float32.
    """

    def __init__(self, definition: Any, imported: Imported, stride: int, shapes: Sequence[Shape]) -> None:
        self._definition = definition
        self._imported = imported
        self._stride = stride
        self._shapes = list(shapes)

    def templates(self, split: Split | None) -> Templates | None:
        """All forms, with its first layers split as ``split`` says; None where LiteRT does not take the graph."""
        whole = convert(self._imported, [self._stride], [], self._shapes)
        if whole is None:
            return None
        halved = None if split is None else self._halved(split)
        for chain in self._chains():
            cut = self._cut(chain, None)
            if cut is None:
                continue
            in_halves = None
            if halved is not None and any(layer.node == chain.layers[0].node for layer in halved[0].layers):
                in_halves = self._cut(chain, halved[0])
            return Templates(whole, halved, cut, in_halves)
        return Templates(whole, halved, None, None)

    def _chains(self) -> list[Chain]:
        """What to cut out, the best first: a conversion of each part takes a second at times."""
        return Chain.of(self._definition)[:MOST_TRIED] if DenseLayers.available() else []

    def _halved(self, split: Split) -> tuple[Split, LiteTemplate] | None:
        count = len(split.layers)
        numbers = range(len(self._shapes))

        def program(rows: Any, *rest: Any) -> Any:
            once, weights = rest[:count], rest[count:]
            # What the layers read is replaced behind them, and they are left out; their place must have their shape.
            read = tf.zeros((1, self._stride)) if split.own_only else rows
            return self._imported(read, *self._all(numbers, weights), replaced=split.replaced(rows, once, weights))

        own = [array.shape for array in split.weights(self._empty())]
        template = convert(program, [split.columns], self._once_columns(split), own)
        return None if template is None else (split, template)

    def _cut(self, chain: Chain, split: Split | None) -> ChainTemplate | None:
        """The graph without its chain, of whole rows or of rows split so; None where LiteRT does not take the parts."""
        others = None
        first = chain.layers[0].node
        if split is not None and (rest := tuple(layer for layer in split.layers if layer.node != first)):
            others = dataclasses.replace(split, layers=rest)
        replaced = [chain.target, *(f"{layer.node}:0" for layer in others.layers)] if others else [chain.target]
        behind = reached(self._definition, PREDICTION, replaced)
        before = _weights(reached(self._definition, chain.source))
        if set(before) & set(_weights(behind)):
            return None  # what is before the chain would be computed behind it, too
        head = tail = None
        if chain.source != f"{INPUT}:0":
            head = self._head(chain, before)
            if head is None:
                return None
        reads_rows = INPUT in behind or others is not None
        if not chain.last:
            tail = self._tail(chain, split, others, behind, reads_rows=reads_rows)
            if tail is None:
                return None
        return ChainTemplate(chain, head, tail, reads_rows, split, others)

    def _head(self, chain: Chain, wanted: tuple[int, ...]) -> Part | None:
        def program(rows: Any, *weights: Any) -> Any:
            return self._imported(rows, *self._all(wanted, weights), output=chain.source)

        shapes = [self._shapes[number] for number in wanted]
        template = convert(program, [self._stride], [], shapes, NOT_CUT)
        return None if template is None else Part(template, wanted)

    def _tail(
        self, chain: Chain, split: Split | None, others: Split | None, behind: frozenset[str], *, reads_rows: bool
    ) -> Part | None:
        columns = self._stride if split is None else split.columns
        by_row = [*([columns] if reads_rows else []), self._shapes[chain.layers[-1].weight][1]]
        once = [] if others is None else self._once_columns(others)
        wanted = _weights(behind)
        if others is not None:
            wanted = tuple(sorted({*wanted, *(layer.weight for layer in others.layers)}))

        def program(*tensors: Any) -> Any:
            entries, weights = tensors[: len(by_row) + len(once)], tensors[len(by_row) + len(once) :]
            rows, made = entries[0], entries[len(by_row) - 1]
            replaced = {chain.target: made}
            given = self._all(wanted, weights)
            if others is not None:
                own = dict(zip(wanted, weights, strict=True))
                replaced |= others.replaced(rows, entries[len(by_row) :], [own.get(at) for at in range(len(given))])
            read = rows if INPUT in behind else tf.zeros((1, self._stride))
            return self._imported(read, *given, replaced=replaced)

        shapes = self._shapes
        if others is not None:
            shapes = [array.shape for array in others.weights(self._empty())]
        template = convert(program, by_row, once, [shapes[number] for number in wanted], NOT_CUT)
        return None if template is None else Part(template, wanted)

    def _all(self, numbers: Sequence[int], weights: Sequence[Any]) -> list[Any]:
        """All weights: those of ``numbers`` where they have their shape, and zeros for what nobody reads."""
        given = dict(zip(numbers, weights, strict=True))
        return [
            given[at] if at in given and tuple(given[at].shape) == shape else tf.zeros(shape)
            for at, shape in enumerate(self._shapes)
        ]

    def _once_columns(self, split: Split) -> list[int]:
        return [self._shapes[layer.weight][1] for layer in split.layers]

    def _empty(self) -> list[Rows]:
        return [np.empty(shape, np.float32) for shape in self._shapes]


def _weights(placeholders: frozenset[str]) -> tuple[int, ...]:
    return tuple(sorted(int(name.removeprefix(WEIGHT)) for name in placeholders if name != INPUT))
