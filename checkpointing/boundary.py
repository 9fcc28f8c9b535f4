"""Below which version everything is gone for good, as a log that nothing can turn back; not how that is decided."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Literal

from checkpointing import paths
from checkpointing.packfile import Count, Int64, Number, Part
from checkpointing.signed import from_signed_json, to_signed_json
from infra.clock import Clock
from infra.errors import Corrupt, Invalid
from infra.object_store import AlreadyExists, NotFound, ObjectStore


class Boundary(Part):
    """What collections have given up, FORMAT.md 5.10; each entry of the log lies above the one before.

    Attributes:
        format: Of this object.
        number: The number in the object's name; 0 in a store that was never collected.
        version: Versions below this number are gone or about to be deleted; their numbers are never used again.
        kept: Versions below it whose bases stay.
        created_ts: The collector's clock.
    """

    format: Literal[2] = 2
    number: Count = 0
    version: Number = 1
    kept: tuple[Number, ...] = ()
    created_ts: Int64 = 0

    def holds(self, start: int, target: int) -> bool:
        """Whether a reader may read versions ``start`` to ``target``; below the boundary only bases are left."""
        return start >= self.version or (start == target and target in self.kept)


class BoundaryLog:
    """Follows the log by number, one get a look, and appends to it; for one thread."""

    def __init__(self, store: ObjectStore) -> None:
        """Makes no request yet."""
        self._store = store
        self._newest: Boundary | None = None

    def poll(self) -> Boundary:
        """The newest entry; the first call costs a list. Raises as :func:`read_boundary`."""
        if self._newest is None:
            self._newest = read_boundary(self._store)
        while (following := _read(self._store, self._newest.number + 1)) is not None:
            self._newest = following
        return self._newest

    def has_passed(self, version: int) -> bool:
        """Whether ``version`` lies below the boundary; not where that is wrong, which whoever needs it is told."""
        try:
            return self.poll().version > version
        except (Corrupt, Invalid):
            return False

    def move(self, version: int, kept: tuple[int, ...], clock: Clock) -> Boundary:
        """Appends an entry, unless somebody has moved the boundary; returns the newest one in any case.

        An entry is never replaced: whatever becomes of a put that is late, the boundary cannot go back.

        Raises:
            Unavailable: The store does not answer; the entry may be there.
        """
        before = self.poll()
        if before.version >= version:
            return before
        entry = Boundary(number=before.number + 1, version=version, kept=kept, created_ts=clock.now_ms())
        try:
            self._store.create(paths.boundary_key(entry.number), to_signed_json(entry))
        except AlreadyExists:
            return self.poll()
        self._newest = entry
        return entry


def read_boundary(store: ObjectStore) -> Boundary:
    """The boundary; in a store that was never collected, below the first version. Costs a list, and a get.

    Raises:
        Corrupt: The newest entry is wrong.
        Invalid: It has a newer format.
        Unavailable: The store does not answer.
    """
    keys = store.list(paths.COLLECTION)
    newest = max((paths.boundary_number(key) or 0 for key in keys), default=0)
    return Boundary() if newest == 0 and paths.FIRST_BOUNDARY_KEY not in keys else read_entry(store, newest)


def read_entry(store: ObjectStore, number: int) -> Boundary:
    """The entry of that number, which must exist; 0 stands for the time before the first. As :func:`read_boundary`.

    What was given up before there was a log stands in an object of its own, with all fields of an entry but its number.
    """
    entry = _read(store, number)
    if entry is None and number == 0:
        return Boundary()
    if entry is None:
        raise Corrupt("the entry is missing", wanted="all of them", where=paths.boundary_key(number))
    return entry


def first_version(store: ObjectStore) -> int:
    """The lowest number from which on the line has no gap; raises as :func:`read_boundary`."""
    return read_boundary(store).version


def _read(store: ObjectStore, number: int) -> Boundary | None:
    key = paths.FIRST_BOUNDARY_KEY if number == 0 else paths.boundary_key(number)
    try:
        data = store.get(key)
    except NotFound:
        return None
    entry = from_signed_json(Boundary, data, what="boundary", where=key)
    if entry.number != number:
        raise Corrupt(f"number is {entry.number}", wanted=str(number), where=key)
    return entry
