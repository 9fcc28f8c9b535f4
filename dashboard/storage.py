"""Adds up what versions cost in the store: base, chain, bytes, puts and gets; must not ask the store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from checkpointing.control import CONTROL_EVERY_S
from checkpointing.manifest import Manifest
from dashboard.decisions import DECISION_TICKS
from dashboard.versions import committed_ms
from infra.spec import Pipeline, Prices

HOUR_S: Final = 3_600
HOUR_MS: Final = HOUR_S * 1_000
# Longer chains are counted no further; the alert has fired long before.
REMEMBERED: Final = 200_000
HOURS_PER_MONTH: Final = 730
GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class BaseSize:
    """The newest base.

    Args:
        version: Of which version.
        bytes: Of all its files.
        created_ms: When it was made.
    """

    version: int
    bytes: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class _Put:
    version: int
    bytes: int
    puts: int
    committed_ms: int


class Storage:
    """What the store holds for one model, as far as manifests and bases tell. For one thread.

    Args:
        prices: What a put, a get and a GiB cost.
        started_ms: Versions committed before are shown, but not counted as written.
    """

    def __init__(self, prices: Prices, started_ms: int) -> None:
        self._started_ms = started_ms
        self._prices = prices
        self._puts: deque[_Put] = deque(maxlen=REMEMBERED)
        self._base: BaseSize | None = None
        self.written_bytes = 0
        self.put_objects = 0

    def add(self, manifests: Iterable[Manifest]) -> None:
        """Takes manifests, which follow one another."""
        for manifest in manifests:
            size = sum(file.bytes for file in manifest.files)
            put = _Put(manifest.version, size, len(manifest.files) + 1, committed_ms(manifest))
            self._puts.append(put)
            if put.committed_ms >= self._started_ms:
                self.written_bytes += put.bytes
                self.put_objects += put.puts

    def base(self, base: BaseSize | None) -> None:
        """Takes the newest base; what lies before it is read by no start."""
        self._base = base
        while base is not None and self._puts and self._puts[0].version <= base.version and self._old(self._puts[0]):
            self._puts.popleft()

    def _old(self, put: _Put) -> bool:
        return put.committed_ms < self._puts[-1].committed_ms - HOUR_MS

    def section(self, now_ms: int, gets_per_hour: float) -> dict[str, Any]:
        """The page's panel; sums of the last hour are scaled up while less than an hour is known.

        Args:
            now_ms: The time of the tick.
            gets_per_hour: How often processes that follow the line ask for the next version or decision.
        """
        since = self._base.version if self._base is not None else 0
        chain = [put for put in self._puts if put.version > since]
        hour = [put for put in self._puts if put.committed_ms > now_ms - HOUR_MS]
        known_ms = min(HOUR_MS, max(60_000, now_ms - hour[0].committed_ms)) if hour else HOUR_MS
        scale = HOUR_MS / known_ms
        bytes_per_hour = sum(put.bytes for put in hour) * scale
        puts_per_hour = sum(put.puts for put in hour) * scale
        kept = (self._base.bytes if self._base is not None else 0) + sum(put.bytes for put in chain)
        per_hour = (
            puts_per_hour / 1000 * self._prices.put_1000
            + gets_per_hour / 1000 * self._prices.get_1000
            + kept / GIB * self._prices.gib_month / HOURS_PER_MONTH
        )
        return {
            "base_version": self._base.version if self._base is not None else None,
            "base_bytes": self._base.bytes if self._base is not None else 0,
            "base_ts": self._base.created_ms if self._base is not None else None,
            "chain_versions": len(chain),
            "chain_bytes": sum(put.bytes for put in chain),
            "bytes_per_hour": round(bytes_per_hour),
            "puts_per_hour": round(puts_per_hour),
            "gets_per_hour": round(gets_per_hour),
            "cost_per_hour": round(per_hour, 4),
            "currency": self._prices.currency,
        }


def gets_per_hour(pipeline: Pipeline, replicas: int) -> float:
    """How often replicas and this page ask for the next version, and they and the learner for the next decision."""
    versions = replicas * HOUR_MS / pipeline.store.poll_interval.ms + HOUR_S
    return versions + (replicas + 1) * HOUR_S / CONTROL_EVERY_S + HOUR_S / DECISION_TICKS
