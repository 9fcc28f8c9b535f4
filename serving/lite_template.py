"""Converts a stored graph to LiteRT once, and finds each weight in the result; knows no version and runs nothing.

A version changes weights and not the program, so its flatbuffer is the first one's with other numbers in it: bytes are
copied, nothing is traced or converted. Where a weight cannot be found just once, as one that the converter has folded
into something else, there is no template, and TensorFlow runs the graph.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from infra.logs import logger
from infra.native_output import silenced
from serving.lite_program import Converted, inputs_by_name
from serving.tensorflow_runtime import tf

Weight = npt.NDArray[np.float32]
# Positional: the inputs [rows, n], then the inputs that stand once, then the weights; to what it computes.
Program = Callable[..., Any]

_log = logger()


@dataclass(frozen=True)
class Place:
    """Where a weight's numbers stand in the flatbuffer; LiteRT keeps most matrices transposed."""

    offset: int
    transposed: bool


@dataclass(frozen=True)
class LiteTemplate:
    """A flatbuffer without weights of its own.

    Attributes:
        content: The flatbuffer, with numbers that mean nothing where the weights belong.
        places: Per weight.
        inputs: Names of its inputs: those by row, then those that stand once.
        by_row: How many of the former.
    """

    content: bytes
    places: tuple[Place, ...]
    inputs: tuple[str, ...]
    by_row: int

    def with_weights(self, weights: Sequence[Weight]) -> Converted:
        """The program of one version, weights in the order of conversion."""
        content = bytearray(self.content)
        for place, weight in zip(self.places, weights, strict=True):
            numbers = _stored(weight, transposed=place.transposed)
            content[place.offset : place.offset + len(numbers)] = numbers
        return Converted(bytes(content), self.inputs, self.by_row)


def convert(
    program: Program,
    by_row: Sequence[int],
    once: Sequence[int],
    shapes: Sequence[tuple[int, ...]],
    event: str = "dense_program_not_converted",
) -> LiteTemplate | None:
    """The template of ``program``, or None where LiteRT cannot take it as it is.

    Args:
        program: TensorFlow operations on inputs ``[rows, n]``, inputs ``[1, n]`` and weights, all float32.
        by_row: Columns of each input with a row for each that is asked for; at least one.
        once: Columns of each input of one row.
        shapes: Of the weights.
        event: What is logged where LiteRT cannot take it.
    """
    random = np.random.default_rng(1)
    markers = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    names = (*(f"rows_{index}" for index in range(len(by_row))), *(f"once_{index}" for index in range(len(once))))
    sizes = [*((None, columns) for columns in by_row), *((1, columns) for columns in once)]
    specs = [tf.TensorSpec(size, tf.float32, name) for size, name in zip(sizes, names, strict=True)]

    def marked(*inputs: Any) -> Any:
        return program(*inputs, *(tf.constant(marker) for marker in markers))

    try:
        function = tf.function(marked, autograph=False).get_concrete_function(*specs)
        with silenced():
            converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
            content = bytes(converter.convert())
            # Whether it can be run at all; the first one of a process tells so.
            interpreter = Interpreter(model_content=content, num_threads=1)
            interpreter.allocate_tensors()
    except Exception as error:  # noqa: BLE001 - the converter raises what its passes raise; TensorFlow can run it
        _log.info(event, reason=str(error).splitlines()[0][:200])
        return None
    if unread := [name for name in names if name not in inputs_by_name(interpreter)]:
        _log.info(event, reason=f"input {unread[0]} is not read")
        return None
    places = [_find(content, marker) for marker in markers]
    found = tuple(place for place in places if place is not None)
    if len(found) < len(places):
        _log.info(event, reason=f"weight {places.index(None)} is folded into others")
        return None
    return LiteTemplate(content, found, names, len(by_row))


def _find(content: bytes, marker: Weight) -> Place | None:
    for transposed in (True, False):
        numbers = _stored(marker, transposed=transposed)
        at = content.find(numbers)
        if at >= 0 and content.find(numbers, at + 1) < 0:
            return Place(at, transposed)
    return None


def _stored(weight: Weight, *, transposed: bool) -> bytes:
    if transposed and weight.ndim > 1:
        weight = np.swapaxes(weight, -1, -2)
    return np.ascontiguousarray(weight, "<f4").tobytes()
