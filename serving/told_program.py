"""How the dense program of a version is told of, in all its forms; knows no version and no socket."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias

import numpy.typing as npt
from pydantic import Field, model_validator

from kernels.dense_layers import DenseLayer
from serving.chain_program import PortableChain
from serving.dense_program import PortableGraph
from serving.lite_program import Converted
from serving.message import ArrayOf, Count, Part, Reading, Writing
from serving.program import PortableProgram
from serving.shared_rows import FirstLayer, Split

Array = npt.NDArray[Any]


class _Converted(Part):
    inputs: Annotated[tuple[str, ...], Field(min_length=1)]
    by_row: Annotated[int, Field(ge=1)]
    content: Count


class _Layer(Part):
    node: str
    weight: Count


class _Split(Part):
    layers: Annotated[tuple[_Layer, ...], Field(min_length=1)]
    shared: ArrayOf
    own: ArrayOf
    own_only: bool
    once: tuple[ArrayOf, ...]
    rest: _Converted

    @model_validator(mode="after")
    def _fits(self) -> Self:
        columns = [one for one in (self.shared, self.own) if one.type != "int64" or len(one.shape) != 1]
        rows = self.shared.shape[:1]
        once = [one for one in self.once if one.type != "float32" or len(one.shape) != 2 or one.shape[:1] != rows]
        if columns or once or len(self.once) != len(self.layers):
            raise ValueError("a split needs columns int64 [s], and per layer float32 [s, n]")
        return self


class _DenseLayer(Part):
    weights: ArrayOf
    bias: ArrayOf | None
    relu: bool

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wide = len(self.weights.shape) == 2 and (self.bias is None or self.bias.shape == self.weights.shape[1:])
        if not wide or {one.type for one in (self.weights, self.bias) if one is not None} != {"float32"}:
            raise ValueError("a layer needs weights float32 [k, n], and no bias or one of [n]")
        return self


class _Chain(Part):
    layers: Annotated[tuple[_DenseLayer, ...], Field(min_length=1)]
    own: ArrayOf | None
    shared: ArrayOf | None
    sigmoid: bool
    head: _Converted | None
    tail: _Converted | None
    reads_rows: bool
    once: tuple[ArrayOf, ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        met = [one for one in (self.shared, *self.once) if one is not None]
        if any(one.type != "float32" or len(one.shape) != 2 for one in met):
            raise ValueError("what meets the shared numbers is float32 [s, n]")
        if self.own is not None and (self.own.type != "int64" or len(self.own.shape) != 1):
            raise ValueError("a chain's own columns are int64 [n]")
        return self


class _Lite(Part):
    kind: Literal["lite"] = "lite"
    graph: str
    whole: _Converted
    split: _Split | None
    chain: _Chain | None
    split_chain: _Chain | None


class _Graph(Part):
    kind: Literal["graph"] = "graph"
    sha256: str
    content: Count
    weights: dict[str, ArrayOf]


ProgramHead: TypeAlias = Annotated[_Lite | _Graph, Field(discriminator="kind")]


def program_head(program: PortableProgram | PortableGraph, writing: Writing) -> ProgramHead:
    """What a head says of a program, whose arrays and flatbuffers are added to what follows it."""
    if isinstance(program, PortableGraph):
        return _Graph(
            sha256=program.sha256,
            content=writing.content(program.content),
            weights={name: writing.array(array) for name, array in program.weights.items()},
        )
    return _Lite(
        graph=program.graph,
        whole=_converted_head(program.whole, writing),
        split=None if program.split is None else _split_head(*program.split, writing),
        chain=_chain_head(program.chain, writing),
        split_chain=_chain_head(program.split_chain, writing),
    )


def _split_head(split: Split, once: Sequence[Array], rest: Converted, writing: Writing) -> _Split:
    return _Split(
        layers=tuple(_Layer(node=layer.node, weight=layer.weight) for layer in split.layers),
        shared=writing.array(split.shared),
        own=writing.array(split.own),
        own_only=split.own_only,
        once=tuple(map(writing.array, once)),
        rest=_converted_head(rest, writing),
    )


def _chain_head(chain: PortableChain | None, writing: Writing) -> _Chain | None:
    if chain is None:
        return None

    def maybe(array: Array | None) -> ArrayOf | None:
        return None if array is None else writing.array(array)

    def part(converted: Converted | None) -> _Converted | None:
        return None if converted is None else _converted_head(converted, writing)

    layers = tuple(
        _DenseLayer(weights=writing.array(one.weights), bias=maybe(one.bias), relu=one.relu) for one in chain.layers
    )
    return _Chain(
        layers=layers,
        own=maybe(chain.own),
        shared=maybe(chain.shared),
        sigmoid=chain.sigmoid,
        head=part(chain.head),
        tail=part(chain.tail),
        reads_rows=chain.reads_rows,
        once=tuple(map(writing.array, chain.once)),
    )


def _converted_head(converted: Converted, writing: Writing) -> _Converted:
    return _Converted(inputs=converted.inputs, by_row=converted.by_row, content=writing.content(converted.content))


def told_program(head: _Lite | _Graph, reading: Reading) -> PortableProgram | PortableGraph:
    """Takes what :func:`program_head` wrote, in the same order."""
    if isinstance(head, _Graph):
        content = reading.content(head.content)
        return PortableGraph(content, head.sha256, {name: reading.array(one) for name, one in head.weights.items()})
    return PortableProgram(
        head.graph,
        _converted(head.whole, reading),
        None if head.split is None else _split(head.split, reading),
        _chain(head.chain, reading),
        _chain(head.split_chain, reading),
    )


def _split(head: _Split, reading: Reading) -> tuple[Split, list[Array], Converted]:
    layers = tuple(FirstLayer(layer.node, layer.weight) for layer in head.layers)
    split = Split(layers, reading.array(head.shared), reading.array(head.own), head.own_only)
    return split, [reading.array(one) for one in head.once], _converted(head.rest, reading)


def _chain(head: _Chain | None, reading: Reading) -> PortableChain | None:
    if head is None:
        return None

    def maybe(array: ArrayOf | None) -> Array | None:
        return None if array is None else reading.array(array)

    layers = tuple(DenseLayer(reading.array(one.weights), maybe(one.bias), one.relu) for one in head.layers)
    own, shared = maybe(head.own), maybe(head.shared)
    parts = [None if one is None else _converted(one, reading) for one in (head.head, head.tail)]
    once = tuple(reading.array(one) for one in head.once)
    return PortableChain(layers, own, shared, head.sigmoid, parts[0], parts[1], head.reads_rows, once)


def _converted(head: _Converted, reading: Reading) -> Converted:
    return Converted(reading.content(head.content), head.inputs, head.by_row)
