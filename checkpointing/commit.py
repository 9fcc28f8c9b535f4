"""Lands bytes exactly once against a store that fails, delays and loses replies; knows no content."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from checkpointing.history import read_manifest
from checkpointing.manifest import Manifest
from checkpointing.paths import manifest_key
from infra.clock import Clock
from infra.errors import Unavailable
from infra.object_store import AlreadyExists, ObjectStore

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0

Result = TypeVar("Result")


class Taken(Exception):
    """The number belongs to another writer's manifest, which is ``found``."""

    def __init__(self, found: Manifest) -> None:
        super().__init__(f"version {found.version} belongs to {found.learner}, epoch {found.epoch}")
        self.found = found


class Patience:
    """Pauses that double from 50 ms to 2 s, until a limit is reached."""

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._end = clock.monotonic() + limit_s
        self._pause = FIRST_PAUSE_S

    def wait(self, error: Unavailable) -> None:
        """Pauses, or raises ``error`` where the pause would end after the limit."""
        if self._clock.monotonic() + self._pause > self._end:
            raise error
        self._clock.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)


def patiently(action: Callable[[], Result], patience: Patience) -> Result:
    """``action``, repeated while the store is unavailable; it must be safe to repeat.

    Raises:
        Unavailable: The store was still so when patience ended.
    """
    while True:
        try:
            return action()
        except Unavailable as error:
            patience.wait(error)


def land(store: ObjectStore, manifest: Manifest, data: bytes, patience: Patience) -> None:
    """Makes ``data``, the bytes of ``manifest``, the object of its number, by FORMAT.md 5.3.

    Safe to call again with the same bytes.

    Raises:
        Taken: Another manifest has the number.
        Unavailable: The outcome is unknown; the bytes may still land.
        Corrupt: What has the number is no manifest.
    """
    while True:
        try:
            store.create(manifest_key(manifest.version), data)
            return
        except AlreadyExists:
            found = patiently(lambda: read_manifest(store, manifest.model, manifest.version), patience)
            if found is not None:
                if found.commit_uuid == manifest.commit_uuid:
                    return
                raise Taken(found) from None
            # The store reports a race that nobody has won yet, as 409 means it.
            patience.wait(Unavailable(f"version {manifest.version} is contended", cure="try again", where=store.url))
        except Unavailable as error:
            patience.wait(error)
