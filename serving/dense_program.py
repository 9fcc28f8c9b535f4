"""Turns a stored graph and a version's weights into a function from rows to predictions; knows no tables.

A graph is imported once, however many versions use it. Its weights are arguments, so that a new version costs the
copy of its weights and no tracing; all of it happens off the read path.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from infra.errors import Corrupt
from serving.dense_graph import INPUT, OUTPUT, read_graph, weight_names
from serving.tensorflow_runtime import tf

KEPT_GRAPHS = 4
# TensorFlow aborts the process, uncatchably, on a DLPack buffer that is aligned to less.
ALIGNMENT = 64


class DenseProgram:
    """A graph with the weights of one version; may be called from many threads."""

    def __init__(self, function: Any, weights: list[Any], stride: int, labels: int) -> None:
        self._function = function
        self._weights = weights
        self.stride = stride
        self.labels = labels

    def predict(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Predictions of gathered rows.

        Args:
            rows: ``[candidates, stride]`` float32, contiguous; read without a copy where it is 64-byte aligned.

        Returns:
            ``[candidates, labels]`` float32.
        """
        if rows.ctypes.data % ALIGNMENT == 0 and rows.flags.c_contiguous and rows.flags.writeable:
            tensor = tf.experimental.dlpack.from_dlpack(rows.__dlpack__())
        else:
            tensor = tf.constant(rows)
        return np.asarray(self._function(tensor, *self._weights))


class DenseGraph:
    """An imported graph, ready to take the weights of any version that names it."""

    def __init__(self, content: bytes, sha256: str) -> None:
        """Imports a graph.

        Args:
            content: A serialised GraphDef with the placeholders `input` and `weight_<i>` and the output `prediction`.
            sha256: Its hash, as the manifest names it.

        Raises:
            Corrupt: The graph is not the stored one, not allowed, or not of that form.
        """
        self.where = f"graphs/{sha256}"
        definition = read_graph(content, sha256)
        names = [INPUT, *weight_names(definition, self.where)]

        def imported(*tensors: Any) -> Any:
            arguments = dict(zip((f"{name}:0" for name in names), tensors, strict=True))
            (output,) = tf.graph_util.import_graph_def(definition, arguments, [f"{OUTPUT}:0"], name="")
            return output

        try:
            placeholders = self._placeholders(definition, names)
            # Not wrap_function and prune: a function pruned from an imported graph ran seven times slower.
            function = tf.function(imported, autograph=False)
            self._function = function.get_concrete_function(*placeholders)
        except (ValueError, KeyError, TypeError, tf.errors.OpError) as error:
            raise Corrupt(f"the graph cannot be imported: {error}", where=self.where) from error
        self._inputs = placeholders[1:]
        self.stride = self._width(INPUT, placeholders[0])
        self.labels = self._width(OUTPUT, self._function.outputs[0])

    def bind(self, weights: Mapping[str, npt.NDArray[np.float32]]) -> DenseProgram:
        """The program of one version, run once so that no request pays for its start.

        Args:
            weights: Name → array, in the order of the placeholders `weight_<i>`.

        Raises:
            Corrupt: Number, type or shape of the weights is not what the graph takes.
        """
        if len(weights) != len(self._inputs):
            raise Corrupt(
                f"the version has {len(weights)} dense arrays", wanted=str(len(self._inputs)), where=self.where
            )
        for (name, array), entry in zip(weights.items(), self._inputs, strict=True):
            if array.dtype != entry.dtype.as_numpy_dtype or not entry.shape.is_compatible_with(array.shape):
                raise Corrupt(
                    f"dense array `{name}` is {array.dtype} {list(array.shape)}",
                    wanted=f"{entry.dtype.name} {entry.shape} for {entry.name}",
                    where=self.where,
                )
        program = DenseProgram(
            self._function, [tf.constant(array) for array in weights.values()], self.stride, self.labels
        )
        try:
            answer = program.predict(np.zeros((1, self.stride), np.float32))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise Corrupt(f"the graph cannot run: {error}", where=self.where) from error
        if answer.shape != (1, self.labels):
            raise Corrupt(f"the graph answers {list(answer.shape)} for one row", wanted=f"[1, {self.labels}]")
        return program

    def _placeholders(self, definition: Any, names: list[str]) -> list[Any]:
        """Type and shape of each placeholder, as the graph declares them."""
        nodes = {node.name: node for node in definition.node}
        return [
            tf.TensorSpec(
                tf.TensorShape(nodes[name].attr["shape"].shape), tf.as_dtype(nodes[name].attr["dtype"].type), name
            )
            for name in names
        ]

    def _width(self, name: str, tensor: Any) -> int:
        shape = tensor.shape
        if tensor.dtype != tf.float32 or shape.rank != 2 or shape[0] is not None or not shape[1]:
            raise Corrupt(f"{name} is {tensor.dtype.name} {shape}", wanted="float32 [None, width]", where=self.where)
        return int(shape[1])


class DenseGraphs:
    """The graphs imported last, by hash."""

    def __init__(self) -> None:
        self._graphs: OrderedDict[str, DenseGraph] = OrderedDict()

    def get(self, content: bytes, sha256: str) -> DenseGraph:
        """The graph with this hash, imported on first use.

        Raises:
            Corrupt: See :class:`DenseGraph`.
        """
        if sha256 not in self._graphs:
            self._graphs[sha256] = DenseGraph(content, sha256)
            if len(self._graphs) > KEPT_GRAPHS:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(sha256)
        return self._graphs[sha256]
