"""Keeps what a reader reads from being collected; must not know what it reads it for."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Final, Literal, Self

from checkpointing.boundary import Boundary, read_boundary
from checkpointing.chain import Chain, plan
from checkpointing.packfile import Number, Part
from checkpointing.paths import lease_key
from checkpointing.signed import from_signed_json, to_signed_json
from infra.clock import Clock, new_uuid
from infra.errors import Corrupt, Invalid, Unavailable
from infra.object_store import ObjectStore

# How long a lease counts after it was written, and the least age of what is deleted, both by the store's clock. A part
# of the format: readers and collectors must agree. Only a simulation changes it.
GRACE_S = 3600.0
# A store whose boundary moves faster than a reader can plan is not ours.
MOST_PLANS: Final = 10


class LeaseNote(Part):
    """The object of a lease: from which version on its holder reads.

    Attributes:
        format: Of this object.
        version: The lowest version that is read.
        base_only: Whether nothing but the base of that version is.
        holder: Who reads, for people.
    """

    format: Literal[2] = 2
    version: Number
    base_only: bool
    holder: str

    @classmethod
    def from_json(cls, data: bytes, *, where: str) -> LeaseNote:
        """Reads a lease; raises as :func:`checkpointing.signed.from_signed_json`."""
        return from_signed_json(cls, data, what="lease", where=where)


class Lease:
    """One reader's lease; lapses by itself one grace time after it was last renewed.

    A store that this reader may not write to gives no lease: what is read then is safe for one grace time.
    """

    def __init__(self, store: ObjectStore, holder: str, clock: Clock) -> None:
        """Makes no request yet.

        Args:
            store: The model's store.
            holder: Who reads, for people.
            clock: Tells when to renew.
        """
        self._store = store
        self._holder = holder
        self._clock = clock
        self._every_s = GRACE_S / 4
        self._key = lease_key(new_uuid())
        self._data: bytes | None = None
        self._renewed = 0.0

    def take(self, version: int, *, base_only: bool = False) -> None:
        """Holds everything from ``version`` on, or its base alone; raises ``Unavailable``."""
        self._data = to_signed_json(LeaseNote(version=version, base_only=base_only, holder=self._holder))
        self._put()

    def renew(self) -> None:
        """Call this between reads; puts the lease again when a quarter of the grace time has passed.

        Raises:
            Unavailable: The store does not answer.
        """
        if self._data is not None and self._clock.monotonic() - self._renewed >= self._every_s:
            self._put()

    def release(self) -> None:
        """Gives everything back; a store that does not answer lets it lapse."""
        if self._data is not None:
            self._data = None
            with contextlib.suppress(Unavailable, Invalid):
                self._store.delete(self._key)

    def _put(self) -> None:
        if self._data is not None:
            self._renewed = self._clock.monotonic()
            with contextlib.suppress(Invalid):  # no right to write here
                self._store.put(self._key, self._data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def plan_held(
    store: ObjectStore,
    model: str,
    target: int,
    lease: Lease,
    *,
    without: Collection[int] = (),
    pinned: bool = False,
) -> Chain:
    """The chain of ``target``, none of whose objects is collected while ``lease`` is renewed.

    The lease is written before the boundary is read, and what lies below an entry of the boundary is deleted a grace
    time after that entry at the soonest, by a collector that reads the leases then: one of the two sees the other.

    Args:
        store: The model's store.
        model: Its name.
        target: The version to fold.
        lease: Taken here.
        without: Bases not to use.
        pinned: Whether a pin holds ``target``: then nobody deletes it, even where the boundary has passed it.

    Raises:
        Invalid: There is no version ``target``, or it was collected.
        Corrupt: A manifest or base is wrong or missing.
        Unavailable: The store does not answer.
    """
    for _ in range(MOST_PLANS):
        before = read_boundary(store)
        if not (pinned or before.holds(target, target)):
            raise _collected(store, target, before)
        try:
            chain = plan(store, model, target, without=without)
        except (Corrupt, Invalid):
            if not before.holds(target, target):
                raise _collected(store, target, before) from None
            if read_boundary(store) == before:
                raise
            continue  # what is missing may have been collected meanwhile
        lease.take(chain.start, base_only=chain.base is not None and not chain.deltas)
        boundary = read_boundary(store)
        if pinned or boundary.holds(chain.tail, target):
            return chain
        if boundary == before:
            raise _collected(store, target, boundary)
    raise Unavailable(f"version {target} is collected while it is read", cure="try again", where=store.url)


def _collected(store: ObjectStore, target: int, boundary: Boundary) -> Invalid:
    return Invalid(
        f"version {target} was collected; the store holds versions from {boundary.version} on",
        wanted=f"one of those, or of the bases {list(boundary.kept)}" if boundary.kept else "one of those",
        cure="choose another version with `springtide versions`",
        where=store.url,
    )


@contextlib.contextmanager
def held_chain(store: ObjectStore, model: str, target: int, holder: str, clock: Clock) -> Iterator[tuple[Chain, Lease]]:
    """:func:`plan_held` with a lease that ends with the block."""
    with Lease(store, holder, clock) as lease:
        yield plan_held(store, model, target, lease), lease
