"""Lands bytes exactly once against a store that fails, delays and loses replies; knows no content."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from checkpointing.boundary import BoundaryLog
from checkpointing.history import read_manifest
from checkpointing.manifest import Manifest
from checkpointing.paths import manifest_key
from infra.backoff import retry
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


class Gone(Exception):
    """The number lies below the boundary: it was used and deleted while this writer stood still."""


@dataclass(frozen=True)
class Persistence:
    """How long and until when a store that does not answer is tried.

    Attributes:
        clock: Passes the time.
        limit_s: Seconds after which an action gives up, with ``Unavailable``.
        stop: Ends the waiting at once, with ``Stopped``.
    """

    clock: Clock
    limit_s: float
    stop: threading.Event

    def tries(self, action: Callable[[], Result], what: str) -> Result:
        """``action``, which must be safe to repeat, until it succeeds or the limit is reached."""
        return retry(
            action,
            what,
            clock=self.clock,
            stop=self.stop,
            first=FIRST_PAUSE_S,
            longest=LONGEST_PAUSE_S,
            give_up_after=self.limit_s,
        )


def land(
    store: ObjectStore, manifest: Manifest, data: bytes, persistence: Persistence, boundaries: BoundaryLog
) -> None:
    """Makes ``data``, the bytes of ``manifest``, the object of its number, by FORMAT.md 5.3 and 5.9.

    Safe to call again with the same bytes.

    Raises:
        Taken: Another manifest has the number.
        Gone: The number was collected; whatever landed there is no version.
        Unavailable: The outcome is unknown; the bytes may still land.
        Corrupt: What has the number is no manifest.
    """
    persistence.tries(lambda: _create(store, manifest, data, boundaries), f"commit version {manifest.version}")


def _create(store: ObjectStore, manifest: Manifest, data: bytes, boundaries: BoundaryLog) -> None:
    try:
        store.create(manifest_key(manifest.version), data)
    except AlreadyExists:
        refuse_taken(store, manifest)
    refuse_gone(boundaries, manifest)


def refuse_taken(store: ObjectStore, manifest: Manifest) -> None:
    """Looks whose manifest has the number that "already exists".

    Raises:
        Taken: Another's.
        Unavailable: Nobody's: the store reports a race that is not won yet, as 409 means it.
    """
    found = read_manifest(store, manifest.model, manifest.version)
    if found is None:
        raise Unavailable(f"version {manifest.version} is contended", cure="try again", where=store.url)
    if found.commit_uuid != manifest.commit_uuid:
        raise Taken(found)


def refuse_gone(boundaries: BoundaryLog, manifest: Manifest) -> None:
    """Raises ``Gone`` if ``manifest`` landed on a number that had been collected."""
    if boundaries.poll().version > manifest.version:
        raise Gone
