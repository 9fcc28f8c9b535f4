"""Hypothesis strategies for tables and batches; knows the settings, not the engine."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from kernels.batch import EncodedBatch
from kernels.lifecycle_settings import ADMISSION_KINDS, EVICTION_ORDERS, AdmissionSettings, EvictionSettings
from kernels.optimizer_settings import (
    CONSTANT_RATE,
    OPTIMIZER_KINDS,
    SCHEDULE_KINDS,
    OptimizerSettings,
    ScheduleSettings,
)
from kernels.row_shapes import COMBINES, AdaptiveRows, MultiHash
from kernels.settings import (
    COMBINERS,
    INITIALIZER_KINDS,
    KEEPS,
    PRECISIONS,
    ColumnSettings,
    Combiner,
    InitializerSettings,
    Rung,
    TableSettings,
)

EXTREME_KEYS = (0, -1, 1, 2**63 - 1, -(2**63), 2**32, -(2**32))
KEYS = st.one_of(st.sampled_from(EXTREME_KEYS), st.integers(-20, 20), st.integers(-(2**63), 2**63 - 1))
MAX_BATCH = 9

combiners: st.SearchStrategy[Combiner] = st.sampled_from(COMBINERS)
schedules = st.builds(
    ScheduleSettings,
    kind=st.sampled_from(SCHEDULE_KINDS),
    warmup=st.integers(0, 3),
    steps=st.integers(1, 4),
    factor=st.sampled_from([0.0, 0.1, 0.7]),
)


@st.composite
def optimizers(draw: st.DrawFn) -> OptimizerSettings:
    """Any rule with any settings that it takes."""
    kind = draw(st.sampled_from(OPTIMIZER_KINDS))
    return OptimizerSettings(
        kind=kind,
        learning_rate=draw(st.sampled_from([0.05, 0.5])),
        initial_accumulator=draw(st.sampled_from([0.1, 0.0])),
        weight_decay=draw(st.sampled_from([0.0, 0.01])),
        l1=draw(st.sampled_from([0.0, 0.3])),
        l2=draw(st.sampled_from([0.0, 0.2])),
        l21=draw(st.sampled_from([0.0, 0.5])),
        decay_steps=draw(st.integers(1, 3)),
        schedule=ScheduleSettings() if kind in CONSTANT_RATE else draw(schedules),
    )


initializers = st.builds(
    InitializerSettings, kind=st.sampled_from(INITIALIZER_KINDS), scale=st.sampled_from([0.01, 1.0])
)
admissions = st.builds(
    AdmissionSettings,
    kind=st.sampled_from(ADMISSION_KINDS),
    occurrences=st.integers(1, 5),
    capacity=st.sampled_from([1, 20, 1000]),
    false_positive=st.sampled_from([0.5, 0.01, 1e-6]),
    period_ms=st.sampled_from([0, 700]),
    probability=st.sampled_from([0.3, 1.0]),
    not_admitted=st.sampled_from([0.0, -1.5]),
)
evictions = st.builds(
    EvictionSettings,
    step_ttl=st.sampled_from([0, 0, 1, 3]),
    time_ttl_ms=st.sampled_from([0, 0, 1, 2000]),
    half_norm=st.sampled_from([None, None, 0.0, 1.0]),
    max_rows=st.sampled_from([0, 0, 1, 10]),
    order=st.sampled_from(EVICTION_ORDERS),
    rows_per_step=st.sampled_from([1, 3, 1000]),
)
ladders = st.sampled_from([(), (), ((1, 2),), ((2, 3), (3, 5)), ((1, 1), (2, 2), (3, 6))])


multi_hashes = st.builds(
    MultiHash,
    quotients=st.sampled_from([1, 3, 50]),
    remainders=st.sampled_from([1, 2, 7]),
    combine=st.sampled_from(COMBINES),
)


@st.composite
def table_settings(draw: st.DrawFn, name: str) -> TableSettings:
    """Any table: shape, precision, optimizer, admission and eviction together."""
    steps = draw(ladders)
    admission = draw(admissions)
    parts = draw(st.one_of(st.none(), st.none(), multi_hashes))
    adaptive = None
    if parts is None and admission.kind != "always" and draw(st.booleans()):
        adaptive = AdaptiveRows(draw(st.sampled_from([1, 3, 1000])))
        admission = replace(admission, not_admitted=0.0)
    dims = [4, 5, 8, 16, 17] if steps else [1, 3, 4, 8, 16, 17]
    if parts is not None and parts.combine == "concat":
        dims = [8, 10, 16, 34] if steps else [2, 6, 8, 16, 34]
    return TableSettings(
        name,
        draw(st.sampled_from(dims)),
        draw(st.integers(0, 3)),
        draw(initializers),
        draw(optimizers()),
        draw(st.sampled_from(PRECISIONS)),
        tuple(Rung(*step) for step in steps),
        admission,
        draw(evictions),
        adaptive,
        parts,
    )


@st.composite
def models(draw: st.DrawFn) -> tuple[tuple[TableSettings, ...], tuple[ColumnSettings, ...], int]:
    """Tables, columns that may share them, and a number of number features."""
    tables = tuple(draw(table_settings(f"t{i}")) for i in range(draw(st.integers(1, 3))))
    columns = tuple(
        ColumnSettings(f"c{i}", tables[table % len(tables)].name, combiner, length if combiner == "none" else 0, keep)
        for i, (table, combiner, length, keep) in enumerate(
            draw(
                st.lists(
                    st.tuples(st.integers(0, 2), combiners, st.integers(1, 5), st.sampled_from(KEEPS)),
                    min_size=1,
                    max_size=4,
                )
            )
        )
    )
    return tables, columns, draw(st.integers(0, 2))


@st.composite
def batches(draw: st.DrawFn, columns: int, numbers: int) -> EncodedBatch:
    """A batch with single, ragged and weighted columns, repeats and extreme keys."""
    rows = draw(st.integers(0, MAX_BATCH))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids = []
    splits: list[np.ndarray[tuple[int], np.dtype[np.int32]] | None] = []
    weights: list[np.ndarray[tuple[int], np.dtype[np.float32]] | None] = []
    for _ in range(columns):
        shape = draw(st.sampled_from(["single", "ragged", "weighted"]))
        if shape == "single":
            ids.append(np.array(draw(st.lists(KEYS, min_size=rows, max_size=rows)), np.int64))
            splits.append(None)
            weights.append(None)
            continue
        lists = draw(st.lists(st.lists(KEYS, max_size=4), min_size=rows, max_size=rows))
        ids.append(np.array([key for keys in lists for key in keys], np.int64))
        splits.append(np.cumsum([0, *(len(keys) for keys in lists)]).astype(np.int32))
        chosen = random.choice(np.array([0.0, 0.5, 1.0, 2.5], np.float32), len(ids[-1]))
        weights.append(chosen if shape == "weighted" else None)
    values = random.standard_normal((rows, numbers)).astype(np.float32)
    return EncodedBatch(
        rows,
        tuple(ids),
        tuple(splits),
        values,
        weights=tuple(weights) if draw(st.booleans()) or any(each is not None for each in weights) else (),
    )
