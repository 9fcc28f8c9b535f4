"""Row shapes as kernels/ROW_SHAPES.md tells them, on reference tables; knows no batch and no column."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from kernels.row_shapes import stored_tables
from kernels.settings import TableSettings
from tests.kernels.reference_hash import mix
from tests.kernels.reference_lifecycle import hash_key
from tests.kernels.reference_table import ReferenceTable

Floats = NDArray[np.float32]


class ReferenceSpace(ABC):
    """One id space; keys come in the order of their first occurrence."""

    def __init__(self, settings: TableSettings) -> None:
        self.settings = settings
        self.tables = tuple(ReferenceTable(stored) for stored in stored_tables(settings))

    @abstractmethod
    def read(self, counts: dict[int, int], step: int, clock: int) -> dict[int, Floats]:
        """What a lookup of these keys answers."""

    @abstractmethod
    def apply(self, sums: dict[int, Floats], counts: dict[int, int], step: int, clock: int, event_ms: int) -> None:
        """One step."""


class Own(ReferenceSpace):
    """A row per key."""

    def read(self, counts: dict[int, int], step: int, clock: int) -> dict[int, Floats]:
        return {key: self.tables[0].read(key, n, step, clock) for key, n in counts.items()}

    def apply(self, sums: dict[int, Floats], counts: dict[int, int], step: int, clock: int, event_ms: int) -> None:
        self.tables[0].apply(sums, counts, step, clock, event_ms)


class Adaptive(ReferenceSpace):
    """A row per key that is admitted, a shared one for the others."""

    def __init__(self, settings: TableSettings) -> None:
        super().__init__(settings)
        self.own, self.shared = self.tables

    def shared_key(self, key: int) -> int:
        assert self.settings.adaptive is not None
        return (mix(hash_key(key) ^ 0x7368617265642D72) >> 32) * self.settings.adaptive.rows >> 32

    def shared_values(self, key: int) -> Floats:
        return self.shared.read(self.shared_key(key), 1, 0, 0)

    def read(self, counts: dict[int, int], step: int, clock: int) -> dict[int, Floats]:
        answer = {}
        for key in counts:
            if key in self.own.rows:
                answer[key] = self.own.full(self.own.rows[key])[0]
            else:
                values = self.shared_values(key)
                answer[key] = np.concatenate([values, np.zeros(self.settings.dim - len(values), np.float32)])
        return answer

    def apply(self, sums: dict[int, Floats], counts: dict[int, int], step: int, clock: int, event_ms: int) -> None:
        refused = self.own.refused(counts, step, clock)
        begin = {key: self.shared_values(key) for key in counts}
        shared_sums: dict[int, Floats] = {}
        shared_counts: dict[int, int] = {}
        for key in refused:
            at, width = self.shared_key(key), self.shared.settings.dim
            shared_sums[at] = shared_sums.get(at, np.zeros(width, np.float32)) + sums[key][:width]
            shared_counts[at] = shared_counts.get(at, 0) + counts[key]
        self.own.apply(sums, counts, step, clock, event_ms, begin)
        self.shared.apply(shared_sums, shared_counts, step, clock, event_ms)


class Parted(ReferenceSpace):
    """Two rows per key, each of several keys."""

    def parts_of(self, key: int) -> tuple[int, int]:
        parts = self.settings.multi_hash
        assert parts is not None
        return divmod(key % 2**64 % (parts.quotients * parts.remainders), parts.remainders)

    def counts_of_parts(self, counts: dict[int, int]) -> tuple[dict[int, int], dict[int, int]]:
        both: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for key, n in counts.items():
            for of_part, part in zip(both, self.parts_of(key), strict=True):
                of_part[part] = of_part.get(part, 0) + n
        return both

    def factors(self, counts: dict[int, int], step: int, clock: int) -> list[dict[int, Floats]]:
        return [
            {part: table.read(part, n, step, clock) for part, n in of_part.items()}
            for table, of_part in zip(self.tables, self.counts_of_parts(counts), strict=True)
        ]

    def read(self, counts: dict[int, int], step: int, clock: int) -> dict[int, Floats]:
        left, right = self.factors(counts, step, clock)
        answer = {}
        for key in counts:
            q, r = self.parts_of(key)
            if self.combine == "concat":
                answer[key] = np.concatenate([left[q], right[r]])
            else:
                answer[key] = left[q] * right[r] if self.combine == "multiply" else left[q] + right[r]
        return answer

    @property
    def combine(self) -> str:
        assert self.settings.multi_hash is not None
        return self.settings.multi_hash.combine

    def apply(self, sums: dict[int, Floats], counts: dict[int, int], step: int, clock: int, event_ms: int) -> None:
        left, right = self.factors(counts, step, clock)
        of_parts: tuple[dict[int, Floats], dict[int, Floats]] = ({}, {})
        for key, gradient in sums.items():
            q, r = self.parts_of(key)
            if self.combine == "concat":
                shares = (gradient[: len(left[q])], gradient[len(left[q]) :])
            elif self.combine == "multiply":
                shares = (gradient * right[r], gradient * left[q])
            else:
                shares = (gradient, gradient)
            for of_part, part, share in zip(of_parts, (q, r), shares, strict=True):
                of_part[part] = of_part.get(part, np.zeros(len(share), np.float32)) + share
        for table, of_part, n in zip(self.tables, of_parts, self.counts_of_parts(counts), strict=True):
            table.apply(of_part, n, step, clock, event_ms)


def reference_space(settings: TableSettings) -> ReferenceSpace:
    """The reference of whatever shape these settings ask for."""
    if settings.adaptive is not None:
        return Adaptive(settings)
    return Parted(settings) if settings.multi_hash is not None else Own(settings)
