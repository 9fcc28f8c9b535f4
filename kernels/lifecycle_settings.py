"""Who gets a row and who loses it: settings of admission and eviction, checked with reasons; must not know the spec."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, get_args

AdmissionKind = Literal["always", "counter", "bloom", "probability"]
EvictionOrder = Literal["lfu", "lru"]

ADMISSION_KINDS: Final[tuple[AdmissionKind, ...]] = get_args(AdmissionKind)
EVICTION_ORDERS: Final[tuple[EvictionOrder, ...]] = get_args(EvictionOrder)
# Counters of a Bloom filter are bytes.
LARGEST_COUNT: Final = 255
# Counters of one filter block, a cache line.
BLOCK: Final = 64
MOST_HASHES: Final = 32


@dataclass(frozen=True)
class AdmissionSettings:
    """Which keys get a row; the others read as ``not_admitted`` and learn nothing.

    Attributes:
        kind: ``always``; ``counter``: from the ``occurrences``-th occurrence on, counted exactly per key; ``bloom``:
            the same, counted in a filter of fixed size that may count too many, never too few; ``probability``: each
            occurrence admits with ``probability``.
        occurrences: See above; those within the batch count.
        capacity: Distinct keys that the filter is sized for, within one period.
        false_positive: Probability that a key never seen before is taken for one that was, at ``capacity`` keys.
        period_ms: The filter's counters halve once per period of event time; 0 = never.
        probability: See above.
        not_admitted: What each coordinate of a refused key reads as.
    """

    kind: AdmissionKind = "always"
    occurrences: int = 1
    capacity: int = 1_000_000
    false_positive: float = 0.01
    period_ms: int = 0
    probability: float = 1.0
    not_admitted: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ADMISSION_KINDS:
            raise ValueError(f"admission kind {self.kind!r}; wanted one of {', '.join(ADMISSION_KINDS)}")
        if not 1 <= self.occurrences < 2**32:
            raise ValueError(f"admission occurrences {self.occurrences}; wanted 1 to 2^32 - 1")
        if not math.isfinite(self.not_admitted):
            raise ValueError(f"admission not_admitted {self.not_admitted!r}; wanted a finite number")
        if self.kind == "probability" and not 0 < self.probability <= 1:
            raise ValueError(
                f"admission probability {self.probability!r} would never admit a key; wanted above 0, at most 1"
                if self.probability == 0
                else f"admission probability {self.probability!r}; wanted above 0, at most 1"
            )
        if self.kind == "bloom":
            self._check_filter()

    def _check_filter(self) -> None:
        if self.occurrences > LARGEST_COUNT:
            raise ValueError(
                f"admission by a filter from {self.occurrences} occurrences on would never admit a key that comes once"
                f" a batch: its counters stop at {LARGEST_COUNT}; take fewer occurrences, or kind counter"
            )
        if not 0 < self.false_positive < 1:
            raise ValueError(f"admission false_positive {self.false_positive!r}; wanted between 0 and 1")
        if not 1 <= self.capacity <= 2**36:
            raise ValueError(f"admission capacity {self.capacity}; wanted 1 to 2^36")
        if self.period_ms < 0:
            raise ValueError(f"admission period_ms {self.period_ms}; wanted at least 0")

    @property
    def filter_hashes(self) -> int:
        """Counters per key, ⌈|ln p| / ln 2⌉."""
        return min(MOST_HASHES, math.ceil(-math.log(self.false_positive) / math.log(2)))

    @property
    def filter_blocks(self) -> int:
        """Blocks that hold the promised rate; see :func:`blocks_for`."""
        return blocks_for(self.capacity, self.false_positive, self.filter_hashes)


def block_false_positive(keys_per_block: float, hashes: int) -> float:
    """Rate of a filter whose blocks hold a Poisson number of keys, each raising ``hashes`` of 64 counters.

    Putze, Sanders and Singler, "Cache-, hash- and space-efficient Bloom filters", 2007, equation 3.
    """
    rate, share = 0.0, math.exp(-keys_per_block)
    for keys in range(int(keys_per_block + 20 * math.sqrt(keys_per_block) + 40)):
        rate += share * (1 - (1 - 1 / BLOCK) ** (keys * hashes)) ** hashes
        share *= keys_per_block / (keys + 1)
    return rate


@lru_cache
def blocks_for(capacity: int, false_positive: float, hashes: int) -> int:
    """The fewest blocks (of a hundred grades per doubling) that keep the promised rate at ``capacity`` keys."""
    blocks = max(1.0, capacity * -math.log(false_positive) / math.log(2) ** 2 / BLOCK)
    while block_false_positive(capacity / blocks, hashes) > false_positive:
        blocks *= 2**0.01
    return min(math.ceil(blocks), 2**32 - 1)


@dataclass(frozen=True)
class EvictionSettings:
    """Which rows leave; any combination. A row that leaves is a tombstone of the next capture; its key may return.

    Attributes:
        step_ttl: Rows not updated for more than so many steps; 0 = off.
        time_ttl_ms: Rows whose newest event is older than the table's newest by more; 0 = off. Counts of keys that are
            not admitted (admission kind counter) leave likewise.
        half_norm: Rows with ½‖w‖² of at most this; None = off, 0 = those that a group rule has zeroed.
        max_rows: Beyond it the least worthy of a sample leave in the same step; 0 = no limit.
        order: Who is least worthy: ``lfu`` the least frequent, then the least recent; ``lru`` the other way round.
        rows_per_step: How many rows the sweep looks at in each step, about.
    """

    step_ttl: int = 0
    time_ttl_ms: int = 0
    half_norm: float | None = None
    max_rows: int = 0
    order: EvictionOrder = "lfu"
    rows_per_step: int = 1024

    def __post_init__(self) -> None:
        if self.order not in EVICTION_ORDERS:
            raise ValueError(f"eviction order {self.order!r}; wanted one of {', '.join(EVICTION_ORDERS)}")
        for name, most in (("step_ttl", 2**31), ("time_ttl_ms", 2**62), ("max_rows", 2**32)):
            if not 0 <= getattr(self, name) < most:
                raise ValueError(f"eviction {name} {getattr(self, name)}; wanted 0 to {most - 1}")
        if self.half_norm is not None and not (math.isfinite(self.half_norm) and self.half_norm >= 0):
            raise ValueError(f"eviction half_norm {self.half_norm!r}; wanted a finite number of at least 0")
        if not 1 <= self.rows_per_step < 2**31:
            raise ValueError(f"eviction rows_per_step {self.rows_per_step}; wanted 1 to 2^31 - 1")
