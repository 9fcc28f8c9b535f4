"""Rows in files, their pages dropped before every call on a table, are the same bit for bit as rows in memory."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import _core
from kernels.batch import EncodedBatch
from kernels.tables import ColumnSettings, EmbeddingTables, TableSettings
from tests.kernels.conformance import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tables made from now on keep their rows in files below it."""
    path = tmp_path_factory.mktemp("slabs")
    _core.keep_slabs_in_files(str(path))
    yield path
    _core.keep_slabs_in_files("")


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_sequence_of_operations_equals_the_reference(folder: Path, data: st.DataObject) -> None:
    run(data)


def mapped(folder: Path) -> int:
    """Bytes of this process that lie in files below the folder."""
    total = 0
    for line in Path("/proc/self/maps").read_text(encoding="ascii").splitlines():
        if str(folder) in line:
            begin, end = line.split(maxsplit=1)[0].split("-")
            total += int(end, 16) - int(begin, 16)
    return total


def test_many_rows_are_found_again_wherever_they_lie(folder: Path) -> None:
    def build() -> EmbeddingTables:
        return EmbeddingTables([TableSettings("t", 16)], [ColumnSettings("c", "t", "sum")], 0, 4096)

    before = mapped(folder)
    in_files = build()
    _core.keep_slabs_in_files("")
    in_memory = build()
    _core.keep_slabs_in_files(str(folder))
    random = np.random.default_rng(1)
    for step in range(30):
        ids = random.integers(0, 40_000, 4096)
        for tables in (in_files, in_memory):
            tables.prepare(EncodedBatch(4096, (ids,), (None,), np.empty((4096, 0), np.float32)))
            tables.lookup()
            tables.apply(np.cos(tables.buffer * step), step)
    rows = in_files.row_count("t")
    assert mapped(folder) - before > rows * 2 * 16 * 4
    for mine, wanted in (
        (in_files.export("t"), in_memory.export("t")),
        (in_files.capture()[0], in_memory.capture()[0]),
    ):
        for part in ("keys", "values", "slots", "frequency", "last_seen"):
            np.testing.assert_array_equal(getattr(mine, part), getattr(wanted, part))


def test_a_folder_that_takes_no_files_is_no_memory(folder: Path) -> None:
    _core.keep_slabs_in_files(str(folder / "absent"))
    with pytest.raises(MemoryError):
        EmbeddingTables([TableSettings("t", 16)], [ColumnSettings("c", "t", "sum")], 0, 16)
    _core.keep_slabs_in_files(str(folder))
