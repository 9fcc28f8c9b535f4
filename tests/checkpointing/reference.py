"""Versions as plain dicts: what the fold of a line must be, and short ways to make content; reads no pack."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkpointing.content import Array, Content, Delta, LearnerState, ServingContent
from checkpointing.manifest import Position
from kernels.rows import TableRows

DIM = 2
SLOTS = 3
TOPIC = "samples"

# value, slots, frequency, last_seen; a row is one number in all of them, so that mixed-up columns show
Row = tuple[tuple[float, ...], tuple[float, ...], int, int]


def row(number: int, dim: int = DIM, slots: int = SLOTS) -> Row:
    return (float(number),) * dim, (float(number) + 0.5,) * slots, number, number * 1000


def table(
    name: str, rows: Mapping[int, int], gone: Iterable[int] = (), dim: int = DIM, slots: int = SLOTS
) -> TableRows:
    """Rows by key, each made of one number."""
    numbers = np.array(list(rows.values()), dtype=np.int64)
    column = numbers.astype(np.float32)[:, None]
    return TableRows(
        table=name,
        keys=np.array(list(rows), dtype=np.int64),
        values=np.repeat(column, dim, axis=1),
        slots=np.repeat(column + np.float32(0.5), slots, axis=1),
        frequency=numbers.astype(np.uint32),
        last_seen=numbers * 1000,
        tombstones=np.array(list(gone), dtype=np.int64),
    )


def content(rows: Mapping[int, int] | None = None, gone: Iterable[int] = (), offset: int = 0, **fields: Any) -> Content:
    """A delta of one table `item` at one position."""
    tables = [table("item", rows or {}, gone)] if rows or gone else []
    return Content(tables=tables, positions=[Position(topic=TOPIC, partition=0, next_offset=offset)], **fields)


def by_key(rows: TableRows) -> dict[int, Row]:
    return {
        int(key): (
            tuple(map(float, rows.values[at])),
            tuple(map(float, rows.slots[at])),
            int(rows.frequency[at]),
            int(rows.last_seen[at]),
        )
        for at, key in enumerate(rows.keys)
    }


@dataclass
class Reference:
    """The state after some contents, by the rules of FORMAT.md 4, in the plainest way."""

    tables: dict[str, dict[int, Row]] = field(default_factory=dict)
    dense: dict[str, Array] = field(default_factory=dict)

    def apply(self, step: Content | Delta | ServingContent) -> None:
        if isinstance(step, ServingContent) and step.full:
            self.tables.clear()
        for rows in step.tables:
            held = self.tables.setdefault(rows.table, {})
            for key in rows.tombstones:
                held.pop(int(key), None)
            held.update(by_key(rows))
        if step.dense:
            self.dense = {name: np.asarray(array) for name, array in step.dense.items()}

    @classmethod
    def of(cls, steps: Iterable[Content]) -> Reference:
        reference = cls()
        for step in steps:
            reference.apply(step)
        return reference

    def assert_is(self, state: LearnerState) -> None:
        restored = {name: by_key(rows) for name, rows in state.tables.items()}
        assert {name: rows for name, rows in restored.items() if rows} == self._rows()
        assert all(len(rows.tombstones) == 0 for rows in state.tables.values())
        self._assert_dense(state.dense)

    def assert_serves(self, replica: Reference) -> None:
        """Whether ``replica``, which applied switches, holds the values of this state."""
        served = {name: {key: held[0] for key, held in rows.items()} for name, rows in replica._rows().items()}
        assert served == {name: {key: held[0] for key, held in rows.items()} for name, rows in self._rows().items()}
        self._assert_dense(replica.dense)

    def _rows(self) -> dict[str, dict[int, Row]]:
        return {name: rows for name, rows in self.tables.items() if rows}

    def _assert_dense(self, arrays: Mapping[str, Array]) -> None:
        assert list(arrays) == list(self.dense)
        for name, array in self.dense.items():
            assert array.dtype == arrays[name].dtype
            np.testing.assert_array_equal(array, arrays[name])
