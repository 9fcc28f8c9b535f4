"""The protocol with one of its safety rules taken out; a simulation that finds no violation then proves nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

import checkpointing.boundary
import checkpointing.claim
import checkpointing.collect
import checkpointing.commit
import checkpointing.compact
import checkpointing.lease
import checkpointing.merge
import checkpointing.servable
import checkpointing.writer
from checkpointing import paths
from checkpointing.boundary import Boundary, BoundaryLog
from checkpointing.collect import Collector
from checkpointing.commit import Taken
from checkpointing.garbage import Listing
from checkpointing.lease import Lease
from checkpointing.manifest import Manifest
from checkpointing.merge import merge
from checkpointing.signed import from_signed_json, to_signed_json
from checkpointing.writer import Writer
from infra.clock import Clock
from infra.object_store import Entry, NotFound, ObjectStore
from kernels.rows import TableRows
from tests.checkpointing.simulation.weather import GRACE_S, Weather


@contextlib.contextmanager
def without_claim() -> Iterator[None]:
    """A writer goes on after the newest manifest, in its epoch, without a manifest of its own."""
    claimed = checkpointing.claim.claim

    def adopt(store: ObjectStore, model: str, identity: str, persistence: Any, log: Any, **named: Any) -> Manifest:
        newest = persistence.tries(lambda: checkpointing.claim._newest(store, model), "look")
        if newest is None:
            return claimed(store, model, identity, persistence, log, **named)
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
    honest = Listing.dead_below

    def eager(self: Listing, boundary: Boundary, settled_ms: int) -> list[Entry]:
        newest = max((paths.manifest_version(entry.key) or 0 for entry in self.line), default=0)
        yet_to_come = [entry for entry in self.uploads if (paths.upload_version(entry.key) or 0) > newest]
        return honest(self, boundary, settled_ms) + [replace(entry, modified_ms=0) for entry in yet_to_come]

    with patch.object(Listing, "dead_below", eager):
        yield


@contextlib.contextmanager
def without_rest() -> Iterator[None]:
    """The boundary moves at every collection, and only one that is old itself counts."""
    honest = Collector._entries

    def entries(self: Collector, settled_ms: int) -> tuple[Boundary, Boundary]:
        before, ripe = honest(self, settled_ms)
        return before, ripe if ripe.number == before.number else Boundary(number=before.number)

    with patch.object(Collector, "_entries", entries):
        yield


@contextlib.contextmanager
def without_log() -> Iterator[None]:
    """The boundary is one object that is replaced."""
    key = paths.boundary_key(1)

    def read(self: BoundaryLog | ObjectStore) -> Boundary:
        store: ObjectStore = self._store if isinstance(self, BoundaryLog) else self
        try:
            return from_signed_json(Boundary, store.get(key), what="boundary", where=key)
        except NotFound:
            return Boundary()

    def move(self: BoundaryLog, version: int, kept: tuple[int, ...], clock: Clock) -> Boundary:
        entry = Boundary(number=1, version=version, kept=kept, created_ts=clock.now_ms())
        self._store.put(key, to_signed_json(entry))
        return entry

    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.object(BoundaryLog, "poll", read))
        stack.enter_context(patch.object(BoundaryLog, "move", move))
        for module in (checkpointing.lease, checkpointing.servable, checkpointing.boundary):
            stack.enter_context(patch.object(module, "read_boundary", read))
        stack.enter_context(patch.object(checkpointing.collect, "read_entry", lambda store, number: read(store)))
        yield


@contextlib.contextmanager
def without_look_back() -> Iterator[None]:
    """A revert does not ask whether what it starts from was collected."""
    with patch.object(Writer, "_refuse_collected", lambda *_: None):
        yield


@contextlib.contextmanager
def without_positions() -> Iterator[None]:
    """A claim forgets where its parent stood."""
    honest = checkpointing.claim._claim_after

    def forgetful(newest: Manifest | None, *rest: Any) -> Manifest:
        return honest(newest, *rest).model_copy(update={"positions": ()})

    with patch.object(checkpointing.claim, "_claim_after", forgetful):
        yield


def _calm(seed: int) -> Weather:
    return Weather(seed, seconds=150, lost=0.02, delayed=0.02)


def _readers(seed: int) -> Weather:
    return Weather(seed, seconds=600, writers=1, followers=0, readers=6, patience_s=GRACE_S * 0.6, decisions=False)


def _zombies(seed: int) -> Weather:
    return Weather(seed, seconds=600, writers=3, followers=0, decisions=False, stall=0.03)


def _late(seed: int) -> Weather:
    return Weather(seed, seconds=600, writers=1, followers=0, decisions=False, delayed=0.2)


def _reverts(seed: int) -> Weather:
    return Weather(seed, seconds=1500, writers=1, followers=0, decisions=False, hesitant=0.06, reverts=0.5)


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
    "the boundary rests for a grace time": (without_rest, _calm),
    "the boundary is a log": (without_log, _late),
    "a revert looks at the boundary": (without_look_back, _reverts),
    "positions in every version": (without_positions, _calm),
}
