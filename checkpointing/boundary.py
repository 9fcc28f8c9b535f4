"""Below which version everything is gone for good; must not know how that is decided."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Literal

from checkpointing.packfile import Int64, Number, Part
from checkpointing.paths import BOUNDARY_KEY
from checkpointing.signed import from_signed_json, to_signed_json
from infra.errors import Corrupt, Invalid
from infra.object_store import NotFound, ObjectStore


class Boundary(Part):
    """What a collection has given up, FORMAT.md 5.10; moves in one direction only.

    Attributes:
        format: Of this object.
        version: Versions below this number are gone or about to be deleted; their numbers are never used again.
        kept: Versions below it whose bases stay.
        created_ts: The collector's clock.
    """

    format: Literal[2] = 2
    version: Number = 1
    kept: tuple[Number, ...] = ()
    created_ts: Int64 = 0

    def holds(self, start: int, target: int) -> bool:
        """Whether a reader may read versions ``start`` to ``target``; below the boundary only bases are left."""
        return start >= self.version or (start == target and target in self.kept)

    def to_json(self) -> bytes:
        """The bytes of the object, checksum included."""
        return to_signed_json(self)


def read_boundary(store: ObjectStore) -> Boundary:
    """The boundary; in a store that was never collected, below the first version.

    Raises:
        Corrupt: The object is wrong.
        Invalid: It has a newer format.
        Unavailable: The store does not answer.
    """
    try:
        data = store.get(BOUNDARY_KEY)
    except NotFound:
        return Boundary()
    return from_signed_json(Boundary, data, what="boundary", where=BOUNDARY_KEY)


def first_version(store: ObjectStore) -> int:
    """The lowest number from which on the line has no gap; raises as :func:`read_boundary`."""
    return read_boundary(store).version


def is_collected(store: ObjectStore, version: int) -> bool:
    """Whether ``version`` lies below the boundary; not where that is wrong, which whoever needs it is told."""
    try:
        return read_boundary(store).version > version
    except (Corrupt, Invalid):
        return False
