"""Turns a stored graph and a version's weights into a function from rows to predictions; knows no tables.

A graph is imported and converted once, however many versions use it; a new version costs the copy of its weights and
no tracing, all of it off the read path. The matrix unit and LiteRT run what they can take, TensorFlow the rest, and
what runs a version is held against TensorFlow once before it answers: both must agree within ``TOLERANCE``, absolute
and relative.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from infra.errors import Corrupt
from infra.logs import logger
from serving.chain_program import PortableChain
from serving.dense_graph import INPUT, OUTPUT, read_graph, weight_names
from serving.graph_conversion import PREDICTION, Conversion, Templates
from serving.lite_program import RecentSizes
from serving.program import Halves, PortableProgram, PreparedProgram
from serving.shared_rows import Split
from serving.tensorflow_runtime import tf

KEPT_GRAPHS = 4
# TensorFlow aborts the process, uncatchably, on a DLPack buffer that is aligned to less.
ALIGNMENT = 64
TOLERANCE: Final = 1e-5
# Numbers in two parts lose more the larger they are: they must leave room for rows ten times as large as the probe's.
TWO_PARTS_WITHIN: Final = TOLERANCE / 10
PROBE_ROWS: Final = 16

Rows = npt.NDArray[np.float32]
Columns = npt.NDArray[np.int64]

_log = logger()


class DenseProgram:
    """A graph with the weights of one version; may be called from many threads."""

    def __init__(self, graph: DenseGraph, weights: Mapping[str, Rows]) -> None:
        self._graph = graph
        self._weights = [tf.constant(array) for array in weights.values()]
        self._prepared: tuple[PreparedProgram, PortableProgram] | None = None
        self.weights = weights
        self.stride = graph.stride
        self.labels = graph.labels

    def predict(self, rows: Rows, *, shared: bool = False) -> Rows:
        """See :class:`serving.program.Program`; rows are read without a copy where they are 64-byte aligned."""
        if self._prepared is not None:
            return self._prepared[0].predict(rows, shared=shared)
        return self.predict_by_tensorflow(rows)

    @property
    def looked_up(self) -> Halves | None:
        """See :class:`serving.program.Program`."""
        return None if self._prepared is None else self._prepared[0].looked_up

    def predict_by_tensorflow(self, rows: Rows) -> Rows:
        """The same by TensorFlow, which is slower and decides what is right."""
        if rows.ctypes.data % ALIGNMENT == 0 and rows.flags.c_contiguous and rows.flags.writeable:
            tensor = tf.experimental.dlpack.from_dlpack(rows.__dlpack__())
        else:
            tensor = tf.constant(rows)
        return np.asarray(self._graph.function(tensor, *self._weights))

    @property
    def runs_by(self) -> str:
        """What runs it: ``matrix_unit``, with LiteRT where it cannot, ``litert``, or ``tensorflow``."""
        if self._prepared is None:
            return "tensorflow"
        portable = self._prepared[1]
        forms = [portable.whole, *(portable.split or ())[2:]]
        return "matrix_unit" if any(isinstance(form, PortableChain) for form in forms) else "litert"

    def portable(self) -> PortableProgram | PortableGraph:
        """The same for another process."""
        if self._prepared is not None:
            return self._prepared[1]
        return PortableGraph(self._graph.content, self._graph.sha256, self.weights)

    def use(
        self, portable: PortableProgram, sizes: RecentSizes, split_sizes: RecentSizes, within: float = TOLERANCE
    ) -> bool:
        """Takes this form over, unless its answers are further than ``within`` from TensorFlow's; whether it did.

        Raises:
            RuntimeError: It does not run.
            ValueError: Its parts do not fit each other.
        """
        prepared = PreparedProgram.of(portable, sizes, split_sizes)
        probe = np.random.default_rng(3).normal(0, 0.3, (PROBE_ROWS, self.stride)).astype(np.float32)
        same = _equal(prepared.predict(probe, asked=False), self.predict_by_tensorflow(probe), within)
        if prepared.halves is not None:
            probe[:, prepared.halves.split.shared] = probe[0, prepared.halves.split.shared]
            halved = prepared.predict(probe, shared=True, asked=False)
            same = same and _equal(halved, self.predict_by_tensorflow(probe), within)
        if same:
            self._prepared = prepared, portable
        return same


@dataclass(frozen=True, eq=False)
class PortableGraph:
    """A program that TensorFlow runs, as it travels: graph, hash and weights by name."""

    content: bytes
    sha256: str
    weights: Mapping[str, Rows]


def _equal(found: Rows, wanted: Rows, within: float) -> bool:
    return bool(np.allclose(found, wanted, rtol=within, atol=within, equal_nan=True))


class DenseGraph:
    """An imported graph, ready to take the weights of any version that names it."""

    def __init__(self, content: bytes, sha256: str, shared: Columns | None = None, *, convertible: bool = True) -> None:
        """Imports a graph, and converts it where LiteRT can take it.

        Args:
            content: A serialised GraphDef with the placeholders `input` and `weight_<i>` and the output `prediction`.
            sha256: Its hash, as the manifest names it.
            shared: Columns of the input that requests may have in common for all their rows, int64 [s].
            convertible: Whether to try; False where it is known that LiteRT cannot.

        Raises:
            Corrupt: The graph is not the stored one, not allowed, or not of that form.
        """
        self.where = f"graphs/{sha256}"
        self.content = content
        self.sha256 = sha256
        definition = read_graph(content, sha256)
        names = [INPUT, *weight_names(definition, self.where)]

        def imported(*tensors: Any, replaced: Any = None, output: str = PREDICTION) -> Any:
            arguments = dict(zip((f"{name}:0" for name in names), tensors, strict=True)) | (replaced or {})
            (found,) = tf.graph_util.import_graph_def(definition, arguments, [output], name="")
            return found

        try:
            placeholders = self._placeholders(definition, names)
            # Not wrap_function and prune: a function pruned from an imported graph ran seven times slower.
            function = tf.function(imported, autograph=False)
            self.function = function.get_concrete_function(*placeholders)
        except (ValueError, KeyError, TypeError, tf.errors.OpError) as error:
            raise Corrupt(f"the graph cannot be imported: {error}", where=self.where) from error
        self._inputs = placeholders[1:]
        self.stride = self._width(INPUT, placeholders[0])
        self.labels = self._width(OUTPUT, self.function.outputs[0])
        self._split = None if shared is None else Split.of(definition, self.stride, shared)
        self._sizes, self._split_sizes = RecentSizes(), RecentSizes()
        self._templates = self._convert(definition, imported) if convertible else None

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
        program = DenseProgram(self, weights)
        try:
            answer = program.predict(np.zeros((1, self.stride), np.float32))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise Corrupt(f"the graph cannot run: {error}", where=self.where) from error
        if answer.shape != (1, self.labels):
            raise Corrupt(f"the graph answers {list(answer.shape)} for one row", wanted=f"[1, {self.labels}]")
        self._speed_up(program, list(weights.values()))
        return program

    def _speed_up(self, program: DenseProgram, weights: list[Rows]) -> None:
        if self._templates is None:
            return
        for parts in (*self._templates.parts, None):
            within = TWO_PARTS_WITHIN if parts == 2 else TOLERANCE
            try:
                portable = self._templates.bind(self.sha256, weights, parts)
                if program.use(portable, self._sizes, self._split_sizes, within):
                    return
                reason = f"by more than {within:g}"
            except (RuntimeError, ValueError, TypeError) as error:
                reason = str(error)
            if parts is None:
                _log.warning("dense_program_differs", reason=reason)
            elif parts != 2:  # then another form of the same is next
                _log.warning("dense_chain_differs", reason=reason)

    def _convert(self, definition: Any, imported: Callable[..., Any]) -> Templates | None:
        """All forms of the program; None where LiteRT cannot take it."""
        shapes = [tuple(entry.shape) if entry.shape.is_fully_defined() else None for entry in self._inputs]
        known = [shape for shape in shapes if shape is not None]
        if len(known) < len(shapes) or any(entry.dtype != tf.float32 for entry in self._inputs):
            return None
        return Conversion(definition, imported, self.stride, known).templates(self._split)

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

    def get(
        self, content: bytes, sha256: str, shared: Columns | None = None, *, convertible: bool = True
    ) -> DenseGraph:
        """The graph with this hash, imported on first use; arguments as for :class:`DenseGraph`.

        Raises:
            Corrupt: See :class:`DenseGraph`.
        """
        if sha256 not in self._graphs:
            self._graphs[sha256] = DenseGraph(content, sha256, shared, convertible=convertible)
            if len(self._graphs) > KEPT_GRAPHS:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(sha256)
        return self._graphs[sha256]
