"""What the tables remember beside their rows, as named arrays of a version and back; must not know the store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kernels.rows import AdmissionCounts, TableRows
from kernels.tables import EmbeddingTables

NamedArrays = dict[str, npt.NDArray[Any]]

# Beside the state of the dense weights' rule: replaced as a whole by every version.
STATE: Final = "tables/state"
# Beside the sample ids: they accumulate over the versions, and of equal keys the last one counts.
_COUNTS: Final = "admission/"
_PARTS: Final = ("keys", "counters", "occurrences", "last_seen")


def table_state(tables: EmbeddingTables) -> NamedArrays:
    """Steps, clock and cursors of all tables."""
    return {STATE: tables.state()}


def restore_table_state(tables: EmbeddingTables, arrays: Mapping[str, npt.NDArray[Any]]) -> NamedArrays:
    """Takes over what :func:`table_state` gave; returns the arrays that are not the tables'.

    Raises:
        ValueError: It is the state of other tables.
    """
    if STATE in arrays:
        tables.restore(np.asarray(arrays[STATE], np.int64))
    return {name: array for name, array in arrays.items() if name != STATE}


def counts_to_arrays(tables: Sequence[TableRows]) -> NamedArrays:
    """What admission noted since the last capture, one array per part and table."""
    return {
        f"{_COUNTS}{rows.table}/{part}": np.ascontiguousarray(getattr(rows.counts, part))
        for rows in tables
        if rows.counts is not None and len(rows.counts.keys)
        for part in _PARTS
    }


def counts_from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Iterator[AdmissionCounts]:
    """What :func:`counts_to_arrays` was given, table by table."""
    for name in arrays:
        if not name.startswith(_COUNTS) or not name.endswith("/keys"):
            continue
        table = name.removeprefix(_COUNTS).removesuffix("/keys")
        yield AdmissionCounts(table, *(arrays[f"{_COUNTS}{table}/{part}"] for part in _PARTS))
