"""One random sequence of operations on tables of random settings, held to the plain reference bit for bit."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from kernels.rows import TableRows
from kernels.tables import EmbeddingTables
from tests.kernels.reference import ReferenceTables
from tests.kernels.reference_table import ReferenceTable
from tests.kernels.sampling import KEYS, MAX_BATCH, batches, models

OPERATIONS = ("step", "step", "step", "step", "lookup", "capture", "abandon", "erase", "replace", "restore")


def assert_same_rows(block: TableRows, reference: ReferenceTable, keys: set[int]) -> None:
    assert sorted(block.keys.tolist()) == sorted(keys), block.table
    for i, key in enumerate(block.keys.tolist()):
        row = reference.rows[key]
        values, slots = reference.full(row)
        # As bits: a stamp may look like a NaN, and -0 is not 0.
        np.testing.assert_array_equal(block.values[i].view(np.uint32), values.view(np.uint32))
        np.testing.assert_array_equal(block.slots[i].view(np.uint32), slots.view(np.uint32))
        assert (block.frequency[i], block.last_seen[i]) == (row.frequency, row.last_seen)


def assert_same_counts(block: TableRows, reference: ReferenceTable) -> None:
    """All that admission remembers."""
    kind = reference.settings.admission.kind
    if kind not in ("counter", "bloom"):
        assert block.counts is None
        return
    counts = block.counts
    assert counts is not None
    if kind == "counter":
        found = {
            key: (int(n), int(seen))
            for key, n, seen in zip(counts.keys.tolist(), counts.occurrences, counts.last_seen, strict=True)
        }
        assert found == reference.counts.keys
    else:
        blocks = {
            key: (bytes(counters), int(period))
            for key, counters, period in zip(counts.keys.tolist(), counts.counters, counts.last_seen, strict=True)
        }
        assert blocks == {key: (bytes(of), period) for key, (of, period) in reference.counts.blocks.items()}


def assert_captured(captured: list[TableRows], reference: ReferenceTables) -> None:
    for block in captured:
        of = reference.of[block.table]
        changed, gone = of.changes()
        assert_same_rows(block, of, changed)
        assert block.tombstones.tolist() == sorted(gone)


def run(data: st.DataObject) -> None:  # noqa: PLR0912
    """Draws settings and operations, and fails at the first bit that differs."""
    tables, columns, numbers = data.draw(models())

    def build() -> EmbeddingTables:
        return EmbeddingTables(tables, columns, numbers, MAX_BATCH, threads=data.draw(st.integers(1, 2)))

    engine = build()
    reference = ReferenceTables(tables, columns, engine.stride)
    # Folded from captures alone, as a version is: the last state of every key, and counts in order.
    follower = build()
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    clock = 1_700_000_000_000
    for operation in data.draw(st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=12)):
        table = reference.of[data.draw(st.sampled_from(sorted(reference.of)))]
        name = table.settings.name
        if operation in ("step", "lookup"):
            batch = data.draw(batches(len(columns), numbers))
            engine.prepare(batch)
            assert engine.lookup() == batch.rows
            np.testing.assert_array_equal(engine.buffer[: batch.rows], reference.lookup(batch))
            if operation == "step":
                gradient = random.standard_normal((batch.rows, engine.stride)).astype(np.float32)
                clock += int(random.integers(-500, 1000))
                engine.apply(gradient, clock)
                reference.apply(batch, gradient, clock)
        elif operation == "capture":
            captured = engine.capture()
            assert_captured(captured, reference)
            for block in captured:
                follower.import_rows(block)
        elif operation == "abandon":
            engine.put_back(engine.capture())
        elif operation == "erase":
            engine.restore(engine.state())  # forgets a lookup whose gradient never came; else erase() would refuse
            keys = data.draw(st.lists(KEYS, max_size=6)) + list(table.rows)[:2]
            engine.erase(name, np.array(keys, np.int64))
            table.erase(keys)
        elif operation == "replace":
            # Tombstones and rows from outside are nobody's changes: the next capture tells of neither.
            block = engine.export(name)
            half = len(block.keys) // 2
            gone, before = block.keys[:half], dict(table.rows)
            for tables_of in (engine, follower):
                tables_of.import_rows(TableRows(name, block.keys[:0], *_none(block), tombstones=gone))
            for key in gone.tolist():
                del table.rows[key]
                table.touched.discard(key)
            # Half of them come back, under other row numbers than before, perhaps of rows that changed.
            back = np.arange(0, half, 2)[::-1]
            returned = TableRows(
                name,
                block.keys[back],
                block.values[back],
                block.slots[back],
                block.frequency[back],
                block.last_seen[back],
                block.tombstones[:0],
            )
            for tables_of in (engine, follower):
                tables_of.import_rows(returned)
            for key in returned.keys.tolist():
                table.rows[key] = before[key]
        else:
            captured = engine.capture()
            assert_captured(captured, reference)
            for block in captured:
                follower.import_rows(block)
            # As after a kill: the state beside the rows, and the fold of all captures.
            follower.restore(engine.state())
            engine, follower = follower, build()
            assert all(not len(block.keys) and not len(block.tombstones) for block in engine.capture())
            for stored in reference.of:
                follower.import_rows(engine.export(stored))
    for stored, of in reference.of.items():
        block = engine.export(stored)
        assert_same_rows(block, of, set(of.rows))
        assert_same_counts(block, of)
        assert engine.row_count(stored) == len(of.rows)


def _none(block: TableRows) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    return block.values[:0], block.slots[:0], block.frequency[:0], block.last_seen[:0]
