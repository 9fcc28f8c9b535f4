"""Admission and eviction as kernels/ADMISSION.md tells them, on dicts; knows no optimizer."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kernels.settings import TableSettings
from tests.kernels.reference_hash import GOLDEN, MASK, mix, stream_of
from tests.kernels.reference_rules import whole_power

NEVER = -(2**63)
ROUND = 2**32


def hash_key(key: int) -> int:
    """Where a key lives."""
    return mix((key + GOLDEN) & MASK)


@dataclass
class Counts:
    """What admission of one table remembers."""

    settings: TableSettings
    keys: dict[int, tuple[int, int]] = field(default_factory=dict)  # counter: occurrences, last seen
    blocks: dict[int, tuple[NDArray[np.uint8], int]] = field(default_factory=dict)  # bloom: counters, period

    def _places(self, key: int) -> tuple[int, list[int]]:
        rules = self.settings.admission
        mixed = mix(hash_key(key) ^ stream_of(self.settings) ^ 0x61646D697373696F)
        word = mix(mixed)
        places = []
        for i in range(rules.filter_hashes):
            if i and i % 10 == 0:
                # Sixty bits were taken off the lower end and put back at the upper one.
                word = mix((word + GOLDEN) & MASK)
            places.append(word & 63)
            word = word >> 6 | (word << 58 & MASK)
        return (mixed >> 32) * rules.filter_blocks >> 32, places

    def _counters(self, key: int, clock: int) -> tuple[int, NDArray[np.uint8], list[int], int]:
        block, places = self._places(key)
        period = clock // self.settings.admission.period_ms if self.settings.admission.period_ms else 0
        counters, of = self.blocks.get(block, (np.zeros(64, np.uint8), period))
        halved = np.right_shift(counters, np.uint8(min(max(period - of, 0), 8)), dtype=np.uint8)
        return block, halved, places, max(period, of)

    def admits(self, key: int, occurrences: int, step: int, clock: int) -> bool:
        rules = self.settings.admission
        if rules.kind == "counter":
            return self.keys.get(key, (0, 0))[0] + occurrences >= rules.occurrences
        if rules.kind == "bloom":
            _, counters, places, _ = self._counters(key, clock)
            return int(counters[places].min()) + occurrences >= rules.occurrences
        if rules.kind == "probability":
            stream = stream_of(self.settings) ^ 0x61646D697373696F
            drawn = mix((mix(stream ^ mix((key + GOLDEN) & MASK)) + (step + 1) * GOLDEN) & MASK)
            return (drawn >> 11) * 2.0**-53 < 1 - whole_power(1 - rules.probability, occurrences)
        return True

    def count(self, key: int, occurrences: int, clock: int, event_ms: int) -> None:
        kind = self.settings.admission.kind
        if kind == "counter":
            before, seen = self.keys.get(key, (0, event_ms))
            self.keys[key] = (before + occurrences, max(seen, event_ms))
        elif kind == "bloom":
            block, counters, places, period = self._counters(key, clock)
            raised = min(255, int(counters[places].min()) + occurrences)
            counters[places] = np.maximum(counters[places], raised)
            self.blocks[block] = (counters, period)


@dataclass
class Sweep:
    """A cursor over the lower 32 bits of the keys' hashes."""

    cursor: int = 0
    rows: int = 0

    def slice(self, wanted: int, size: int) -> tuple[int, int, int]:
        """First, last, and the size that they were made for: within a round it does not shrink."""
        size = max(size, self.rows if self.cursor else 0)
        width = ROUND if size <= wanted else max(1, ROUND // size * wanted)
        return self.cursor, self.cursor + min(ROUND - self.cursor, width) - 1, size

    def passed(self, part: tuple[int, int, int]) -> None:
        self.cursor = (part[1] + 1) % ROUND
        self.rows = part[2]


def within(keys: Iterable[int], part: tuple[int, int, int]) -> list[int]:
    """The keys of a slice."""
    return [key for key in keys if part[0] <= hash_key(key) % ROUND <= part[1]]


@dataclass
class Evictor:
    """Sweeps of one table."""

    settings: TableSettings
    sweep: Sweep = field(default_factory=Sweep)
    sample: Sweep = field(default_factory=Sweep)
    counts: Sweep = field(default_factory=Sweep)

    def plan(self, keys: set[int], created: int) -> tuple[tuple[int, int, int] | None, tuple[int, int, int] | None]:
        """The slices of this step, from the keys before it."""
        rules = self.settings.eviction
        after, part, sample, most = len(keys) + created, None, None, 0
        if rules.step_ttl or rules.time_ttl_ms or rules.half_norm is not None:
            part = self.sweep.slice(rules.rows_per_step, after)
            most = len(within(keys, part)) + created
        if rules.max_rows and after > rules.max_rows:
            excess = after - rules.max_rows
            wanted = max(64, 8 * excess)
            sample = self.sample.slice(wanted, after)
            while len(within(keys, sample)) < excess + most and sample[:2] != (0, ROUND - 1):
                wanted *= 2
                start = Sweep() if sample[1] == ROUND - 1 else self.sample
                sample = start.slice(wanted, after)
        return part, sample

    def victims(
        self,
        keys: set[int],
        plan: tuple[tuple[int, int, int] | None, tuple[int, int, int] | None],
        expired: Callable[[int], bool],
        worth: Callable[[int], tuple[int, int]],
    ) -> set[int]:
        """The keys that leave after this step's updates."""
        part, sample = plan
        gone: set[int] = set()
        if part is not None:
            gone = {key for key in within(keys, part) if expired(key)}
            self.sweep.passed(part)
        if sample is not None:
            left = keys - gone
            excess = max(0, len(left) - self.settings.eviction.max_rows)
            gone |= set(sorted(within(left, sample), key=lambda key: (*worth(key), hash_key(key)))[:excess])
            self.sample.passed(sample)
        return gone
