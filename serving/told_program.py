"""How the dense program of a version is told of, in all its forms; knows no version and no socket."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
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
    kind: Literal["converted"] = "converted"
    inputs: Annotated[tuple[str, ...], Field(min_length=1)]
    by_row: Annotated[int, Field(ge=1)]
    content: Count


class _Layer(Part):
    node: str
    weight: Count


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
    kind: Literal["chain"] = "chain"
    layers: Annotated[tuple[_DenseLayer, ...], Field(min_length=1)]
    own: ArrayOf | None
    shared: ArrayOf | None
    sigmoid: bool
    parts: Annotated[int, Field(ge=2, le=3)]
    head: _Converted | None
    tail: _Converted | None
    reads_rows: bool
    once: tuple[ArrayOf, ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        widths = [one.weights.shape for one in self.layers]
        if any(before[1] != after[0] for before, after in itertools.pairwise(widths)):
            raise ValueError("each layer takes as many numbers as the one before it gives")
        met = [one for one in (self.shared, *self.once) if one is not None]
        if any(one.type != "float32" or len(one.shape) != 2 or one.shape[0] != met[0].shape[0] for one in met):
            raise ValueError("what meets the shared numbers is float32 [s, n], of one s")
        if (self.shared is None and self.once) or (self.shared is not None and self.shared.shape[1] != widths[0][1]):
            raise ValueError(
                "what meets the shared numbers in the first layer is as wide as it, and stands before others"
            )
        if self.own is not None and (self.own.type != "int64" or self.own.shape != widths[0][:1]):
            raise ValueError("a chain's own columns are int64 [n], as many as its first layer takes")
        if self.head is not None and (self.head.by_row, len(self.head.inputs)) != (1, 1):
            raise ValueError("what is before a chain takes the rows alone")
        by_row = 1 + self.reads_rows
        if self.tail is not None and (self.tail.by_row, len(self.tail.inputs)) != (by_row, by_row + len(self.once)):
            raise ValueError("what is behind a chain takes what it made, the rows if it reads them, and each of `once`")
        return self


_Form: TypeAlias = Annotated[_Converted | _Chain, Field(discriminator="kind")]


class _Split(Part):
    layers: Annotated[tuple[_Layer, ...], Field(min_length=1)]
    shared: ArrayOf
    own: ArrayOf
    own_only: bool
    once: tuple[ArrayOf, ...]
    rest: _Form

    @model_validator(mode="after")
    def _fits(self) -> Self:
        columns = [one for one in (self.shared, self.own) if one.type != "int64" or len(one.shape) != 1]
        rows = self.shared.shape[:1]
        once = [one for one in self.once if one.type != "float32" or len(one.shape) != 2 or one.shape[:1] != rows]
        apart = isinstance(self.rest, _Chain)
        if columns or once or len(self.once) != (0 if apart else len(self.layers)):
            raise ValueError("a split needs columns int64 [s], and per layer float32 [s, n], unless a chain has them")
        if isinstance(self.rest, _Chain) and (self.rest.shared is None or self.rest.shared.shape[:1] != rows):
            raise ValueError("the chain of a split needs what meets the shared columns")
        return self


class _Lite(Part):
    kind: Literal["lite"] = "lite"
    graph: str
    whole: _Form
    split: _Split | None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.whole, _Chain) and self.whole.shared is not None:
            raise ValueError("a whole program shares nothing")
        return self


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
        whole=_form_head(program.whole, writing),
        split=None if program.split is None else _split_head(*program.split, writing),
    )


def _split_head(split: Split, once: Sequence[Array], rest: Converted | PortableChain, writing: Writing) -> _Split:
    return _Split(
        layers=tuple(_Layer(node=layer.node, weight=layer.weight) for layer in split.layers),
        shared=writing.array(split.shared),
        own=writing.array(split.own),
        own_only=split.own_only,
        once=tuple(map(writing.array, once)),
        rest=_form_head(rest, writing),
    )


def _form_head(form: Converted | PortableChain, writing: Writing) -> _Form:
    return _converted_head(form, writing) if isinstance(form, Converted) else _chain_head(form, writing)


def _chain_head(chain: PortableChain, writing: Writing) -> _Chain:
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
        parts=chain.parts,
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
        _form(head.whole, reading),
        None if head.split is None else _split(head.split, reading),
    )


def _split(head: _Split, reading: Reading) -> tuple[Split, list[Array], Converted | PortableChain]:
    layers = tuple(FirstLayer(layer.node, layer.weight) for layer in head.layers)
    split = Split(layers, reading.array(head.shared), reading.array(head.own), head.own_only)
    return split, [reading.array(one) for one in head.once], _form(head.rest, reading)


def _form(head: _Form, reading: Reading) -> Converted | PortableChain:
    return _converted(head, reading) if isinstance(head, _Converted) else _chain(head, reading)


def _chain(head: _Chain, reading: Reading) -> PortableChain:
    def maybe(array: ArrayOf | None) -> Array | None:
        return None if array is None else reading.array(array)

    layers = tuple(DenseLayer(reading.array(one.weights), maybe(one.bias), one.relu) for one in head.layers)
    own, shared = maybe(head.own), maybe(head.shared)
    before, behind = (None if one is None else _converted(one, reading) for one in (head.head, head.tail))
    once = tuple(reading.array(one) for one in head.once)
    return PortableChain(layers, own, shared, head.sigmoid, head.parts, before, behind, head.reads_rows, once)


def _converted(head: _Converted, reading: Reading) -> Converted:
    return Converted(reading.content(head.content), head.inputs, head.by_row)
