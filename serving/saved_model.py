"""A version as a SavedModel that needs no code of ours: ids and numbers in, predictions out; knows no store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from checkpointing.content import ServingContent
from infra.errors import Invalid
from kernels.arrow_columns import hash_text
from kernels.features import FeatureEncoder, IdFeature, NumberFeature, RunningStatistics
from kernels.settings import TableSettings
from kernels.tables import EmbeddingTables
from serving.dense_graph import INPUT, OUTPUT, read_graph, weight_names
from serving.tensorflow_runtime import tf

_GOLDEN: Final = 0x9E3779B97F4A7C15
_BELOW_TWO: Final = 0.022750131948179195
_CENTRE: Final = (
    (5.9109374720e01, 1.5929113202e02, 5.0434271938e01, 3.3871327179e00),
    (6.7187563600e01, 7.8757757664e01, 1.7895169469e01, 1.0),
)
_MIDDLE: Final = (
    (1.7023821103e-01, 1.3067284816e00, 2.7568153900e00, 1.4234372777e00),
    (1.2021132975e-01, 7.3700164250e-01, 1.0),
)
_FAR: Final = (
    (1.7337203997e-02, 4.2868294337e-01, 3.0812263860e00, 6.6579051150e00),
    (1.2258202635e-02, 2.4197894225e-01, 1.0),
)


def save_model(folder: Path, content: ServingContent, encoder: FeatureEncoder, tables: EmbeddingTables) -> list[str]:
    """Writes ``content`` as a SavedModel with the signature ``serving_default``.

    Its inputs, each for ``n`` samples: of an id feature ``NAME`` the keys ``NAME`` int64 ``[ids]`` and where each
    sample's begin and end, ``NAME_splits`` int64 ``[n + 1]``; of a number feature ``NAME`` float64 ``[n]``, as the
    events have it, NaN where it is missing. A key is an integer id itself, or the XXH64 (seed 0) of a text id's UTF-8
    bytes. Its output ``prediction`` is float32 ``[n, labels]``. Unseen keys read as they do in a replica.

    Args:
        folder: Where to; made.
        content: A full switch, with a graph.
        encoder: The features.
        tables: Their settings and layout; may be empty.

    Returns:
        The names of the inputs.

    Raises:
        Invalid: The version has no graph, or a feature is of a kind that cannot be exported.
        Corrupt: The graph is wrong.
    """
    if content.graph is None or content.graph_bytes is None:
        raise Invalid(f"version {content.version} has no dense program", cure="export a later version")
    odd = [feature.name for feature in encoder.features if type(feature) not in (IdFeature, NumberFeature)]
    odd += [one.name for one in encoder.features if isinstance(one, IdFeature) and one.combiner == "none"]
    if odd:
        raise Invalid(f"feature `{odd[0]}` cannot be exported", cure="export with --no-saved-model")
    if len(tables.tables) > len(tables.settings) or any(
        table.adaptive or table.multi_hash for table in tables.settings
    ):
        raise Invalid("a table whose rows are shared cannot be exported", cure="export with --no-saved-model")
    module = _Exported(content, encoder, tables)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.predict})
    return list(module.inputs)


class _Exported(tf.Module):  # type: ignore[misc]
    """Rows and weights as variables, which a SavedModel keeps outside its graph and so in any size."""

    def __init__(self, content: ServingContent, encoder: FeatureEncoder, tables: EmbeddingTables) -> None:
        super().__init__()
        assert content.graph is not None and content.graph_bytes is not None
        self._features = encoder.features
        self._layout = tables
        self._statistics = RunningStatistics.from_state(encoder.features, content.statistics)
        by_name = {rows.table: rows for rows in content.tables}
        self._rows = {}
        for table in tables.tables:
            rows = by_name.get(table.name)
            keys = np.empty(0, np.int64) if rows is None else rows.keys
            values = np.empty((0, table.dim), np.float32) if rows is None else rows.values
            order = np.argsort(keys)
            self._rows[table.name] = _Rows(table, keys[order], np.asarray(values)[order])
        definition = read_graph(content.graph_bytes, content.graph.sha256)
        names = [INPUT, *weight_names(definition, content.graph.key)]
        self._weights = [
            tf.Variable(np.asarray(array), trainable=False, name=f"weight_{place}")
            for place, array in enumerate(content.dense.values())
        ]

        def dense(*tensors: Any) -> Any:
            arguments = dict(zip((f"{name}:0" for name in names), map(tf.convert_to_tensor, tensors), strict=True))
            return tf.graph_util.import_graph_def(definition, arguments, [f"{OUTPUT}:0"], name="")[0]

        self._dense = dense
        self.inputs = self._signature()
        self.predict = tf.function(self._predict, autograph=False).get_concrete_function(**self.inputs)

    def _signature(self) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        for feature in self._features:
            if isinstance(feature, IdFeature):
                inputs[feature.name] = tf.TensorSpec([None], tf.int64, feature.name)
                splits = f"{feature.name}_splits"
                inputs[splits] = tf.TensorSpec([None], tf.int64, splits)
            else:
                inputs[feature.name] = tf.TensorSpec([None], tf.float64, feature.name)
        return inputs

    def _predict(self, **inputs: Any) -> dict[str, Any]:
        first = self._features[0]
        samples = (
            tf.shape(inputs[f"{first.name}_splits"])[0] - 1
            if isinstance(first, IdFeature)
            else tf.shape(inputs[first.name])[0]
        )
        blocks = [self._block(one, inputs) for one in self._features if isinstance(one, IdFeature)]
        numbers = [self._number(one, inputs[one.name]) for one in self._features if isinstance(one, NumberFeature)]
        width = self._layout.width
        parts = [*blocks, *(number[:, None] for number in numbers)]
        gaps = tf.zeros([samples, self._layout.stride - width], tf.float32)
        rows = tf.concat([*parts, gaps], axis=1)
        return {"prediction": self._dense(rows, *self._weights)}

    def _block(self, feature: IdFeature, inputs: Mapping[str, Any]) -> Any:
        """The combined rows of one id feature, float32 [n, dim]."""
        splits = inputs[f"{feature.name}_splits"]
        counts = splits[1:] - splits[:-1]
        samples = tf.shape(counts)[0]
        owner = tf.repeat(tf.range(samples), counts)
        rows = self._rows[feature.table].lookup(inputs[feature.name])
        total = tf.math.unsorted_segment_sum(rows, owner, samples)
        share = tf.maximum(tf.cast(counts, tf.float32), 1.0)[:, None]
        if feature.combiner == "mean":
            return total / share
        return total / tf.sqrt(share) if feature.combiner == "sqrtn" else total

    def _number(self, feature: NumberFeature, values: Any) -> Any:
        """One number after its scaling, float32 [n]."""
        missing = ~tf.math.is_finite(values)
        if feature.scaling == "log":
            values = tf.sign(values) * tf.math.log1p(tf.abs(values))
        elif feature.scaling == "standard":
            count, mean, squares = self._spread(feature.name)
            deviation = float(np.sqrt(squares / max(count, 1.0)))
            values = (values - mean) / deviation if deviation > 0 else tf.zeros_like(values)
            limit = float(np.finfo(np.float32).max)
            values = tf.clip_by_value(values, -limit, limit)
        missing |= tf.abs(values) > float(np.finfo(np.float32).max)
        return tf.cast(tf.where(missing, tf.zeros_like(values), values), tf.float32)

    def _spread(self, name: str) -> list[float]:
        """Count, mean and sum of squared deviations of a number with standard scaling."""
        place = self._statistics.names.index(name)
        return [float(part[place]) for part in self._statistics.state().values()]


class _Rows(tf.Module):  # type: ignore[misc]
    """One table: sorted keys beside their rows, and what a key without a row reads as."""

    def __init__(self, table: TableSettings, keys: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self._table = table
        # A row more than there are, so that a place behind the last key can be read.
        self._keys = tf.Variable(np.append(keys, np.int64(2**63 - 1)), trainable=False, name=f"{table.name}_keys")
        last = np.zeros((1, table.dim), np.float32)
        self._values = tf.Variable(np.concatenate([values, last]), trainable=False, name=f"{table.name}_values")
        self._count = len(keys)

    def lookup(self, keys: Any) -> Any:
        """Rows of ``keys``, float32 [ids, dim]."""
        places = tf.searchsorted(self._keys, keys)
        found = (tf.gather(self._keys, places) == keys) & (places < self._count)
        return tf.where(found[:, None], tf.gather(self._values, places), absent_rows(self._table, keys))


def absent_rows(table: TableSettings, keys: Any) -> Any:
    """What the tables read for ``keys`` without rows (kernels/HASHING.md), float32 [ids, dim]."""
    if table.admission.kind != "always":
        return tf.fill([tf.shape(keys)[0], table.dim], np.float32(table.admission.not_admitted))
    dim = table.dims[0]
    scale = table.initializer.scale
    if table.initializer.kind == "constant":
        values = tf.fill([tf.shape(keys)[0], dim], np.float32(scale))
    else:
        of_key = _mix(tf.bitcast(keys, tf.uint64) + _u64(_GOLDEN))
        start = _mix(tf.bitwise.bitwise_xor(_u64(_stream(table)), of_key))
        steps = np.arange(1, dim + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        bits = tf.bitwise.right_shift(_mix(start[:, None] + tf.constant(steps)), _u64(12))
        unit = (tf.cast(bits, tf.float64) + 0.5) * 2.0**-52
        values = tf.cast(scale * _shaped(table.initializer.kind, unit), tf.float32)
    return tf.pad(values, [[0, 0], [0, table.dim - dim]])


def _shaped(kind: str, unit: Any) -> Any:
    if kind == "uniform":
        return 2.0 * unit - 1.0
    if kind == "truncated_normal":
        unit = _BELOW_TWO + (1 - 2 * _BELOW_TWO) * unit
    return _normal_quantile(unit)


def _stream(table: TableSettings) -> int:
    name = int(hash_text(pa.array([table.name]), "table").view(np.uint64)[0])
    return _plain_mix(_plain_mix((table.seed + _GOLDEN) % 2**64) ^ name)


def _plain_mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


def _u64(value: int) -> Any:
    return tf.constant(value, tf.uint64)


def _mix(x: Any) -> Any:
    """The finalizer of SplitMix64."""
    x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u64(30))) * _u64(0xBF58476D1CE4E5B9)
    x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u64(27))) * _u64(0x94D049BB133111EB)
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u64(31)))


def _normal_quantile(probability: Any) -> Any:
    """Wichura's AS 241, PPND7, as the tables have it, float64."""
    q = probability - 0.5
    centre = q * _ratio(_CENTRE, 0.180625 - q * q)
    tail = tf.sqrt(-tf.math.log(tf.where(q < 0, probability, 1 - probability)))
    value = tf.where(tail <= 5, _ratio(_MIDDLE, tail - 1.6), _ratio(_FAR, tail - 5))
    return tf.where(tf.abs(q) <= 0.425, centre, tf.where(q < 0, -value, value))


def _ratio(polynomials: Sequence[Sequence[float]], x: Any) -> Any:
    above, below = (_polynomial(each, x) for each in polynomials)
    return above / below


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    value = tf.zeros_like(x) + coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value
