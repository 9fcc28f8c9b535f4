"""Runs a converted dense program with the weights of one version, on any thread; knows no graph and no tables."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

Rows = npt.NDArray[np.float32]
# Writes rows [rows, columns] into the array that it is given, and returns the other inputs.
Fill = Callable[[Rows], Sequence[Rows]]
# An interpreter is set to one number of rows at a time; requests of a model have a few sizes between them.
MOST_KEPT: Final = 6
MOST_SIZES: Final = 3


class RecentSizes:
    """Numbers of rows asked for lately: what the next version makes ready before it answers."""

    def __init__(self) -> None:
        # Replaced whole, as many threads note at once; one that is lost so is noted the next time.
        self._sizes: tuple[int, ...] = ()

    def note(self, rows: int) -> None:
        """Remembers ``rows`` as asked for now."""
        sizes = self._sizes
        if sizes[-1:] != (rows,):
            self._sizes = (*(size for size in sizes if size != rows), rows)[-MOST_SIZES:]

    def all(self) -> list[int]:
        """At most three, the one asked for last at the end; one row where nothing was asked."""
        return list(self._sizes) or [1]


@dataclass(frozen=True)
class Converted:
    """A converted program with a version's weights in it.

    Attributes:
        content: The flatbuffer.
        inputs: Names of its inputs: those with as many rows as are asked for, then those of one row.
        by_row: How many of the former, at least one.
    """

    content: bytes
    inputs: tuple[str, ...]
    by_row: int = 1


class LiteProgram:
    """One version's program; may be called from many threads, each with an interpreter of its own."""

    def __init__(self, converted: Converted, sizes: RecentSizes) -> None:
        """Makes ready for the sizes asked for lately.

        Args:
            converted: The program.
            sizes: Shared by all versions of the graph.
        """
        self.converted = converted
        self._sizes = sizes
        self._idle: deque[_Runner] = deque(_Runner(converted, rows) for rows in sizes.all())

    def predict(self, inputs: Sequence[Rows], *, asked: bool = True) -> Rows:
        """Predictions ``[rows, labels]``.

        Args:
            inputs: Those with a row for each that is asked for, ``[rows, n]`` float32, then those of one, ``[1, n]``.
            asked: Whether a request asks, so that the next version is made ready for as many rows.
        """
        rows = len(inputs[0])
        if asked:
            self._sizes.note(rows)
        return self._run(rows, lambda runner: runner.run(inputs))

    def predict_filled(self, rows: int, fill: Fill) -> Rows:
        """Predictions ``[rows, labels]`` of rows that ``fill`` writes to where LiteRT reads them.

        Args:
            rows: How many.
            fill: Told where the first input stands; gives the others.
        """
        self._sizes.note(rows)
        return self._run(rows, lambda runner: runner.run_filled(fill))

    def _run(self, rows: int, call: Callable[[_Runner], Rows]) -> Rows:
        runner = self._take(rows)
        found = call(runner)
        # Not after an error, whose traceback may still hold memory that must be let go of before it runs again.
        self._idle.append(runner)
        if len(self._idle) > MOST_KEPT:
            self._idle.popleft()
        return found

    def _take(self, rows: int) -> _Runner:
        try:
            for _ in range(len(self._idle)):
                runner = self._idle.pop()
                if runner.rows == rows:
                    return runner
                self._idle.appendleft(runner)
            # The one that was not asked for the longest; another size costs it far less than a new one costs.
            runner = self._idle.popleft()
        except IndexError:
            return _Runner(self.converted, rows)
        runner.resize(rows)
        return runner


class _Runner:
    """An interpreter for one number of rows; for one thread at a time."""

    def __init__(self, converted: Converted, rows: int) -> None:
        inputs = converted.inputs
        self._interpreter: Any = Interpreter(model_content=converted.content, num_threads=1)
        by_name = inputs_by_name(self._interpreter)
        self._inputs = [by_name[name]["index"] for name in inputs]
        self._widths = [int(by_name[name]["shape"][1]) for name in inputs[: converted.by_row]]
        self.resize(rows)
        self._output = self._interpreter.get_output_details()[0]["index"]

    def resize(self, rows: int) -> None:
        """Takes so many rows from now on."""
        for index, width in zip(self._inputs, self._widths, strict=False):
            self._interpreter.resize_tensor_input(index, [rows, width])
        self._interpreter.allocate_tensors()
        self.rows = rows

    def run(self, inputs: Sequence[Rows]) -> Rows:
        self._interpreter.set_tensor(self._inputs[0], inputs[0])
        return self._run(inputs[1:])

    def run_filled(self, fill: Fill) -> Rows:
        # No reference to its memory may be left when an interpreter runs.
        return self._run(fill(self._interpreter.tensor(self._inputs[0])()))

    def _run(self, others: Sequence[Rows]) -> Rows:
        interpreter = self._interpreter
        for index, values in zip(self._inputs[1:], others, strict=True):
            interpreter.set_tensor(index, values)
        interpreter.invoke()
        found: Rows = interpreter.get_tensor(self._output)
        return found


def inputs_by_name(interpreter: Any) -> dict[str, Any]:
    """What LiteRT says of each input, by the name that it was converted under."""
    details = interpreter.get_input_details()
    return {detail["name"].removeprefix("serving_default_").partition(":")[0]: detail for detail in details}
