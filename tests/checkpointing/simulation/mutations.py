"""The protocol with one of its safety rules taken out; a simulation that finds no violation then proves nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

import checkpointing.claim
import checkpointing.collect
import checkpointing.commit
import checkpointing.compact
import checkpointing.lease
import checkpointing.merge
import checkpointing.writer
from checkpointing import paths
from checkpointing.collect import Collector
from checkpointing.commit import Taken
from checkpointing.lease import Lease
from checkpointing.manifest import Manifest
from checkpointing.merge import merge
from infra.object_store import ObjectStore
from kernels.rows import TableRows
from tests.checkpointing.simulation.weather import Weather


@contextlib.contextmanager
def without_claim() -> Iterator[None]:
    """A writer goes on after the newest manifest, in its epoch, without a manifest of its own."""
    claimed = checkpointing.claim.claim

    def adopt(store: ObjectStore, model: str, identity: str, persistence: Any, **named: Any) -> Manifest:
        newest = persistence.tries(lambda: checkpointing.claim._newest(store, model), "look")
        if newest is None:
            return claimed(store, model, identity, persistence, **named)
        found: Manifest = newest
        return found

    with patch.object(checkpointing.writer, "claim", adopt):
        yield


@contextlib.contextmanager
def without_read_back() -> Iterator[None]:
    """ "Already exists" counts as lost, without a look at whose it is."""

    def refuse(store: ObjectStore, manifest: Manifest) -> None:
        raise Taken(manifest)

    with patch.object(checkpointing.commit, "refuse_taken", refuse):
        yield


@contextlib.contextmanager
def without_boundary() -> Iterator[None]:
    """A writer does not look at the boundary after its put."""
    with patch.object(checkpointing.commit, "refuse_gone", lambda *_: None):
        yield


@contextlib.contextmanager
def without_attempt() -> Iterator[None]:
    """Packs are named after their version and part alone."""

    def is_pack_of(key: str, version: int, epoch: int, attempt: str) -> bool:
        return key.startswith(f"versions/{version}/")

    def base_pack_key(version: int, attempt: str, part: int, name: str) -> str:
        return f"compacted/{version}/{'0' * 32}/{part:04d}/{name}"

    with (
        patch.object(
            paths, "pack_key", lambda version, epoch, attempt, name: f"versions/{version}/1-{'0' * 32}/{name}"
        ),
        patch.object(paths, "is_pack_of", is_pack_of),
        patch.object(paths, "base_pack_key", base_pack_key),
        patch.object(paths, "is_base_pack_of", lambda key, version, attempt, part: True),
    ):
        yield


@contextlib.contextmanager
def without_lease() -> Iterator[None]:
    """Readers of old versions tell nobody."""
    with patch.object(Lease, "_put", lambda self: None):
        yield


@contextlib.contextmanager
def without_tombstones() -> Iterator[None]:
    """A merge forgets what was deleted."""

    def forgetful(older: TableRows, newer: TableRows) -> TableRows:
        return replace(merge(older, newer), tombstones=np.empty(0, np.int64))

    with patch.object(checkpointing.merge, "merge", forgetful):
        yield


@contextlib.contextmanager
def without_grace() -> Iterator[None]:
    """What is dead by the boundary is deleted at once."""
    honest = Collector.__init__

    def hasty(self: Collector, *args: Any, **named: Any) -> None:
        honest(self, *args, **named)
        self._grace_ms = 0

    with patch.object(Collector, "__init__", hasty):
        yield


@contextlib.contextmanager
def without_patience() -> Iterator[None]:
    """Files that nothing names are deleted though their number is yet to come."""
    honest = Collector._dead

    def eager(self: Collector, line: Any, documents: Any, bases: Any, floor: int, kept: Any, now_ms: int) -> Any:
        dead = honest(self, line, documents, bases, floor, kept, now_ms)
        newest = max((paths.manifest_version(entry.key) or 0 for entry in line), default=0)
        ahead_of_line = [e for e in self._list(paths.VERSIONS) if (paths.pack_version(e.key) or 0) > newest]
        return dead + [replace(entry, modified_ms=0) for entry in ahead_of_line]

    with patch.object(Collector, "_dead", eager):
        yield


@contextlib.contextmanager
def without_order() -> Iterator[None]:
    """The collector reads leases before it writes the boundary, and not after."""
    honest = Collector._held

    def held(self: Collector, now_ms: int, bases: Any) -> Any:
        early: dict[int, Any] = self.__dict__.setdefault("early", {})
        if now_ms not in early:
            early.clear()
            early[now_ms] = honest(self, now_ms, bases)
        return early[now_ms]

    with patch.object(Collector, "_held", held):
        yield


def _calm(seed: int) -> Weather:
    return Weather(seed, seconds=150, lost=0.02, delayed=0.02)


def _readers(seed: int) -> Weather:
    return Weather(seed, seconds=400, writers=1, followers=0, readers=4, decisions=False)


def _zombies(seed: int) -> Weather:
    return Weather(seed, seconds=600, writers=3, followers=0, decisions=False, stall=0.03)


def _crashes(seed: int) -> Weather:
    return Weather(seed, seconds=300, writers=1, followers=0, decisions=False, crash=0.04)


# Each rule, how to take it out, and the weather in which it matters.
RULES: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[None]], Callable[[int], Weather]]] = {
    "claim": (without_claim, _calm),
    "read-back": (without_read_back, _calm),
    "boundary": (without_boundary, _zombies),
    "attempt in key": (without_attempt, _crashes),
    "lease": (without_lease, _readers),
    "tombstone in merge": (without_tombstones, _calm),
    "grace": (without_grace, _readers),
    "unnamed files wait for the boundary": (without_patience, _calm),
    "leases after the boundary": (without_order, _readers),
}
