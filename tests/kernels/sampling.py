"""Hypothesis strategies for tables and batches; knows the settings, not the engine."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from kernels.batch import EncodedBatch
from kernels.settings import COMBINERS, ColumnSettings, Combiner, InitializerSettings, OptimizerSettings, TableSettings

EXTREME_KEYS = (0, -1, 1, 2**63 - 1, -(2**63), 2**32, -(2**32))
KEYS = st.one_of(st.sampled_from(EXTREME_KEYS), st.integers(-20, 20), st.integers(-(2**63), 2**63 - 1))
MAX_BATCH = 9

combiners: st.SearchStrategy[Combiner] = st.sampled_from(COMBINERS)
optimizers = st.builds(
    OptimizerSettings,
    kind=st.sampled_from(["adagrad", "adam"]),
    learning_rate=st.sampled_from([0.05, 0.5]),
    initial_accumulator=st.sampled_from([0.1, 0.0]),
    epsilon=st.just(1e-8),
)
initializers = st.builds(
    InitializerSettings, kind=st.sampled_from(["normal", "uniform", "constant"]), scale=st.sampled_from([0.01, 1.0])
)


@st.composite
def models(draw: st.DrawFn) -> tuple[tuple[TableSettings, ...], tuple[ColumnSettings, ...], int]:
    """Tables, columns that may share them, and a number of number features."""
    tables = tuple(
        TableSettings(f"t{i}", draw(st.sampled_from([1, 3, 4, 8, 16, 17])), draw(st.integers(0, 3)), *parts)
        for i, parts in enumerate(draw(st.lists(st.tuples(initializers, optimizers), min_size=1, max_size=3)))
    )
    columns = tuple(
        ColumnSettings(f"c{i}", tables[table % len(tables)].name, combiner)
        for i, (table, combiner) in enumerate(
            draw(st.lists(st.tuples(st.integers(0, 2), combiners), min_size=1, max_size=4))
        )
    )
    return tables, columns, draw(st.integers(0, 2))


@st.composite
def batches(draw: st.DrawFn, columns: int, numbers: int) -> EncodedBatch:
    """A batch with single and ragged columns, repeats and extreme keys."""
    rows = draw(st.integers(0, MAX_BATCH))
    ids = []
    splits: list[np.ndarray[tuple[int], np.dtype[np.int32]] | None] = []
    for _ in range(columns):
        if draw(st.booleans()):
            ids.append(np.array(draw(st.lists(KEYS, min_size=rows, max_size=rows)), np.int64))
            splits.append(None)
        else:
            lists = draw(st.lists(st.lists(KEYS, max_size=4), min_size=rows, max_size=rows))
            ids.append(np.array([key for keys in lists for key in keys], np.int64))
            splits.append(np.cumsum([0, *(len(keys) for keys in lists)]).astype(np.int32))
    seed = draw(st.integers(0, 2**32 - 1))
    values = np.random.default_rng(seed).standard_normal((rows, numbers)).astype(np.float32)
    return EncodedBatch(rows, tuple(ids), tuple(splits), values)
