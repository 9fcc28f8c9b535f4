"""What the golden store holds, as literals; must not read it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from checkpointing.content import Array, Content
from checkpointing.manifest import Gate, Graph, Position, Probe, Timeline
from checkpointing.precision import Precision
from kernels.rows import TableRows

GRAPH = b"a dense program"
DENSE: dict[str, Array] = {
    "dense/kernel": np.array([[1.0, -2.0, 0.5]], dtype=np.float32),
    "dense/bias": np.array(0.25, dtype=np.float32),
}
STATISTICS: dict[str, Array] = {"count": np.array(3, dtype=np.int64), "mean": np.array([0.5], dtype=np.float64)}
DENSE_OPTIMIZER: dict[str, Array] = {"iterations": np.array(7, dtype=np.uint32)}
SAMPLE_IDS: dict[str, Array] = {
    "hash": np.array([2**64 - 1, 0], dtype=np.uint64),
    "seen": np.array([True, False], dtype=np.bool_),
}


def rows(
    table: str, keys: list[int], values: list[list[float]], slots: list[list[float]], gone: list[int]
) -> TableRows:
    """Rows whose frequency is their index + 1 and whose last_seen is 1,000 times that."""
    return TableRows(
        table=table,
        keys=np.array(keys, dtype=np.int64),
        values=np.array(values, dtype=np.float32),
        slots=np.array(slots, dtype=np.float32),
        frequency=np.arange(1, len(keys) + 1, dtype=np.uint32),
        last_seen=np.arange(1, len(keys) + 1, dtype=np.int64) * 1000,
        tombstones=np.array(gone, dtype=np.int64),
    )


def first(graph: Graph) -> Content:
    return Content(
        tables=[
            rows("item", [1, -1, 2**63 - 1], [[1, 2], [3, 4], [5, 6]], [[0.1], [0.2], [0.3]], [-(2**63)]),
            rows("user", [42], [[0.5]], [[]], []),
        ],
        dense=DENSE,
        dense_optimizer=DENSE_OPTIMIZER,
        statistics=STATISTICS,
        sample_ids=SAMPLE_IDS,
        positions=[Position(topic="springtide.golden.samples", topic_id="tid", partition=0, next_offset=3)],
        batches=[[(0, 0, 2)], [(0, 2, 3)]],
        learned_through=1_700_000_000_000,
        newest_known_ts=1_700_000_000_500,
        label_histogram={"edges": [0, 1], "counts": [2, 1]},
        probes=[Probe(id="__probe-1", received_ts=1, sampled_ts=2, trained_ts=3)],
        timeline=Timeline(received_ts=1, sampled_ts=2, trained_ts=3, captured_ts=4),
        metrics={1_700_000_000_000: {"samples": 3, "log_loss_sum": 0.75}},
        gate=Gate(servable=True),
        environment={"threads": 1},
        graph=graph,
        feature_spec_hash="features-1",
    )


def second() -> Content:
    return Content(
        tables=[rows("item", [-(2**63), 1], [[7, 8], [9, 10]], [[0.4], [0.5]], [-1])],
        positions=[Position(topic="springtide.golden.samples", topic_id="tid", partition=0, next_offset=5)],
        batches=[[(0, 3, 5)]],
        learned_through=1_700_000_001_000,
        newest_known_ts=1_700_000_001_000,
        gate=Gate(servable=False, reasons=("calibration",)),
        feature_spec_hash="features-1",
    )


# What only format 2 holds: rows in fewer bytes, and a block of a filter.
PRECISIONS: tuple[Precision, ...] = ("bfloat16", "int8")
FILTER: Array = np.array([0, 255, 7], dtype=np.uint8)
SMALL = [[0.1, -0.2], [1000.0, 0.5]]
# Served instead of SMALL: the nearest bfloat16, and steps of 1000 / 127 rounded up to one.
SERVED: dict[str, list[list[float]]] = {
    "bfloat16": [[0.10009765625, -0.2001953125], [1000.0, 0.5]],
    "int8": [[0.09949493408203125, -0.20056915283203125], [1000.125, 0.0]],
}


def small(number: int, precision: Precision) -> Content:
    return Content(
        tables=[rows("item", [500 + number, 600 + number], SMALL, [[0.6], [0.7]], [])],
        precision={"item": precision},
        filters={"item/0": FILTER + np.uint8(number)},
        positions=[Position(topic="springtide.golden.samples", topic_id="tid", partition=0, next_offset=6 + number)],
        gate=Gate(servable=True),
        feature_spec_hash="features-1",
    )
