"""Whatever happens to tables, in whatever order, they equal the plain reference bit for bit."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.rows import TableRows
from kernels.tables import EmbeddingTables
from tests.kernels.reference import ReferenceTables
from tests.kernels.sampling import KEYS, MAX_BATCH, batches, models

OPERATIONS = ("step", "step", "step", "lookup", "capture", "abandon", "erase", "replace", "restore")


def assert_same_rows(block: TableRows, reference: ReferenceTables, keys: set[int]) -> None:
    assert sorted(block.keys.tolist()) == sorted(keys), block.table
    for i, key in enumerate(block.keys.tolist()):
        row = reference.rows[block.table][key]
        np.testing.assert_array_equal(block.values[i], row.values)
        np.testing.assert_array_equal(block.slots[i], row.slots)
        assert (block.frequency[i], block.last_seen[i]) == (row.frequency, row.last_seen)


def assert_captured(captured: list[TableRows], reference: ReferenceTables) -> None:
    for block in captured:
        changed, gone = reference.changes(block.table)
        assert_same_rows(block, reference, changed)
        assert block.tombstones.tolist() == sorted(gone)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_a_sequence_of_operations_equals_the_reference(data: st.DataObject) -> None:
    tables, columns, numbers = data.draw(models())

    def build() -> EmbeddingTables:
        return EmbeddingTables(tables, columns, numbers, MAX_BATCH, threads=data.draw(st.integers(1, 2)))

    engine = build()
    reference = ReferenceTables(tables, columns, engine.stride)
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    clock = 1_700_000_000_000
    for operation in data.draw(st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=12)):
        name = data.draw(st.sampled_from([table.name for table in tables]))
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
            else:
                engine.apply(np.zeros((batch.rows, engine.stride), np.float32), 0)
                reference.apply(batch, np.zeros((batch.rows, engine.stride), np.float32), 0)
        elif operation == "capture":
            assert_captured(engine.capture(), reference)
        elif operation == "abandon":
            engine.put_back(engine.capture())
        elif operation == "erase":
            keys = data.draw(st.lists(KEYS, max_size=6)) + list(reference.rows[name])[:2]
            engine.erase(name, np.array(keys, np.int64))
            reference.erase(name, keys)
        elif operation == "replace":
            # Tombstones and rows from outside are nobody's changes: the next capture tells of neither.
            block = engine.export(name)
            half = len(block.keys) // 2
            engine.import_rows(TableRows(name, block.keys[:0], *_none(block), tombstones=block.keys[:half]))
            for key in block.keys[:half].tolist():
                del reference.rows[name][key]
                reference.touched[name].discard(key)
        else:
            assert_captured(engine.capture(), reference)
            restored = build()
            for table in tables:
                restored.import_rows(engine.export(table.name))
            engine = restored
            assert all(not len(block.keys) and not len(block.tombstones) for block in engine.capture())
    for table in tables:
        assert_same_rows(engine.export(table.name), reference, set(reference.rows[table.name]))
        assert engine.row_count(table.name) == len(reference.rows[table.name])


def _none(block: TableRows) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    return block.values[:0], block.slots[:0], block.frequency[:0], block.last_seen[:0]
