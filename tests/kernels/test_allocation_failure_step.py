"""Memory that runs out in any place of a step leaves every table as it was, and the step can be tried again."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import _core
from kernels.batch import EncodedBatch
from kernels.lifecycle_settings import AdmissionSettings, EvictionSettings
from kernels.optimizer_settings import OptimizerSettings
from kernels.tables import AdaptiveRows, ColumnSettings, EmbeddingTables, MultiHash, Rung, TableRows, TableSettings

# Every path of a step at once, in rows of sixteen bits.
OWN = TableSettings(
    "a",
    17,
    optimizer=OptimizerSettings("ftrl", 0.1),
    precision="bfloat16",
    ladder=(Rung(3, 2), Rung(8, 4)),
    admission=AdmissionSettings("counter", 2, capacity=3000, probability=0.5),
    eviction=EvictionSettings(step_ttl=2, time_ttl_ms=1000, max_rows=300, rows_per_step=200),
)
SHAPES = {
    "counter": OWN,
    "bloom": replace(OWN, admission=replace(OWN.admission, kind="bloom")),
    "probability": replace(OWN, admission=replace(OWN.admission, kind="probability")),
    "adaptive": replace(OWN, adaptive=AdaptiveRows(5000)),
    "multiply": replace(OWN, multi_hash=MultiHash(3000, 2000, "multiply")),
    "concat": replace(OWN, dim=34, multi_hash=MultiHash(3000, 2000, "concat")),
}


@pytest.fixture(autouse=True)
def _memory_is_back_afterwards() -> Iterator[None]:
    yield
    _core.fail_allocation_after(-1)


def batch(begin: int, count: int) -> EncodedBatch:
    """Every id twice, one of each in a list of three of which two stay."""
    ids = np.concatenate([np.arange(begin, begin + count)] * 2)
    lists = np.repeat(ids, 3)
    splits = np.arange(len(ids) + 1, dtype=np.int32) * 3
    return EncodedBatch(len(ids), (ids, lists), (None, splits), np.empty((len(ids), 0), np.float32))


def trained(settings: TableSettings) -> EmbeddingTables:
    columns = [ColumnSettings("x", "a", "sum"), ColumnSettings("y", "a", "none", 2)]
    tables = EmbeddingTables([settings], columns, 0, 2048)
    for begin in range(4):
        tables.prepare(batch(begin * 50, 200))
        tables.lookup()
        tables.apply(np.ones((400, tables.stride), np.float32), begin * 400)
    return tables


def everything(tables: EmbeddingTables) -> list[bytes]:
    parts: list[NDArray[Any]] = [tables.state()]
    for table in tables.tables:
        rows = tables.export(table.name)
        parts += [rows.keys, rows.values, rows.slots, rows.frequency, rows.last_seen]
        if rows.counts is not None:
            parts += [rows.counts.keys, rows.counts.counters, rows.counts.occurrences, rows.counts.last_seen]
    return [part.tobytes() for part in parts]


def told(captured: list[TableRows]) -> list[bytes]:
    return [part.tobytes() for rows in captured for part in (rows.keys, rows.tombstones)]


def failing(tables: EmbeddingTables, call: str, *arguments: Any, after: int) -> bool:
    """Whether the call found no memory."""
    _core.fail_allocation_after(after)
    try:
        getattr(tables, call)(*arguments)
    except MemoryError:
        return True
    finally:
        _core.fail_allocation_after(-1)
    return False


@pytest.mark.parametrize("shape", SHAPES)
def test_an_update_changes_everything_or_nothing(shape: str) -> None:
    def ready() -> EmbeddingTables:
        tables = trained(SHAPES[shape])
        tables.prepare(batch(250, 1024))  # larger than any before: no room is left over
        tables.lookup()
        return tables

    wanted = ready()
    gradient = np.ones((2048, wanted.stride), np.float32)
    before = everything(wanted)
    wanted.apply(gradient, 5000)
    after, captured = everything(wanted), wanted.capture()
    assert sum(len(rows.keys) for rows in captured) > 0 and sum(len(rows.tombstones) for rows in captured) > 0
    wanted_told = told(captured)
    # New tables every time: what one attempt reserved would hide the next one's allocations.
    for allocation in range(200):
        tables = ready()
        if not failing(tables, "apply", gradient, 5000, after=allocation):
            assert allocation >= 8, "nothing failed, nothing was tested"
            return
        assert everything(tables) == before
        tables.apply(gradient, 5000)
        assert everything(tables) == after
        assert told(tables.capture()) == wanted_told
    pytest.fail("no end of allocations")


@pytest.mark.parametrize("shape", ["counter", "adaptive", "multiply"])
@pytest.mark.parametrize("call", ["prepare", "lookup"])
def test_a_reading_call_can_be_repeated(shape: str, call: str) -> None:
    def ready() -> EmbeddingTables:
        tables = trained(SHAPES[shape])
        tables.buffer[:] = 0
        if call == "lookup":
            tables.prepare(batch(250, 1024))
        return tables

    wanted = ready()
    before = everything(wanted)
    wanted.prepare(batch(250, 1024))
    wanted.lookup()
    for allocation in range(200):
        tables = ready()
        arguments = (batch(250, 1024),) if call == "prepare" else ()
        failed = failing(tables, call, *arguments, after=allocation)
        if failed:
            getattr(tables, call)(*arguments)
        if call == "prepare":
            tables.lookup()
        np.testing.assert_array_equal(tables.buffer, wanted.buffer)
        assert everything(tables) == before
        if not failed:
            assert allocation >= 3, "nothing failed, nothing was tested"
            return
    pytest.fail("no end of allocations")
