"""One store's versions in another store, at another provider if need be; must not know what they hold."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from checkpointing import paths
from checkpointing.base import base_versions
from checkpointing.boundary import Boundary, BoundaryLog, first_version, read_boundary
from checkpointing.history import ahead, newest_version, read_manifest
from checkpointing.lease import Lease
from infra.clock import Clock
from infra.errors import Corrupt, Invalid
from infra.object_store import NotFound, ObjectStore

# What names other objects, and what is named. Named objects are listed after and copied before those that name them.
FILES: Final = (paths.COMPACTED, paths.GRAPHS, paths.VERSIONS)


def copy_store(
    source: ObjectStore,
    target: ObjectStore,
    model: str,
    clock: Clock,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Copies everything up to the newest version of now; repeat it to bring the copy up to date.

    A reader of the target never meets a name whose object is missing, nor a gap in the line behind its base: files come
    first, then bases, then manifests one by one in their order, then decisions. What ends it early leaves a shorter
    line, and the next call goes on from there.

    Args:
        source: The model's store; a writer may go on.
        target: An empty one, or an earlier copy.
        model: The model's name.
        clock: Tells when to renew the lease on the source.
        progress: Called with (objects done, in all).

    Returns:
        The newest version of the copy.

    Raises:
        Invalid: The source has no version, or the target holds another line.
        Corrupt: An object of the target is not the source's.
        Unavailable: One of the two does not answer.
    """
    newest = newest_version(source)
    if newest is None:
        raise Invalid("the source holds no version", where=source.url)
    with Lease(source, "copy", clock) as lease:
        boundary = _held(source, lease)
        _refuse_another_line(source, target, model)
        below = _wanted_below(source, boundary, newest)
        copying = _Copying(source, target, newest, first_version(target), boundary, below)
        decisions, manifests, bases = map(copying.missing, (paths.CONTROL, paths.MANIFESTS, paths.BASES))
        files = [key for prefix in FILES for key in copying.missing(prefix)]
        steps = (ahead(copying.copy, files), ahead(copying.copy, bases), copying.line(manifests, clock))
        total = len(files) + len(bases) + len(manifests) + len(decisions)
        for done, _ in enumerate(itertools.chain(*steps, copying.in_order(decisions)), start=1):
            lease.renew()
            progress(done, total)
    return newest


def _held(source: ObjectStore, lease: Lease) -> Boundary:
    """The boundary, with everything from it on held by ``lease``."""
    while True:
        boundary = read_boundary(source)
        lease.take(boundary.version)
        if read_boundary(source).version == boundary.version:
            return boundary


def _wanted_below(source: ObjectStore, boundary: Boundary, newest: int) -> set[int]:
    """The versions below the boundary that readers above it need: kept bases, and what reverts start from.

    A revert up to ``newest`` has its mark by now. It may have come after the boundary was chosen, which then keeps
    nothing for it.
    """
    wanted, bases = set(boundary.kept), base_versions(source)
    for version, start in filter(None, map(paths.revert_of, source.list(paths.VERSIONS))):
        if start < boundary.version < version <= newest:
            wanted.update(range(max((base for base in bases if base <= start), default=1), start + 1))
    return wanted


class _Copying:
    """What one copy moves from ``source`` to ``target``: versions up to ``newest`` that the target did not collect."""

    def __init__(
        self,
        source: ObjectStore,
        target: ObjectStore,
        newest: int,
        first: int,
        boundary: Boundary,
        below: Collection[int],
    ) -> None:
        self._source = source
        self._target = target
        self._newest = newest
        self._first = first
        self._boundary = boundary
        self._below = below

    def missing(self, prefix: str) -> list[str]:
        """The keys that the target lacks, in order."""
        held = set(self._target.list(prefix))
        return [key for key in self._source.list(prefix) if key not in held and self._is_wanted(key)]

    def copy(self, key: str) -> None:
        """Copies an object whose place among others does not matter."""
        self.write(key, self.read(key))

    def read(self, key: str) -> bytes | None:
        try:
            return self._source.get(key)
        except NotFound:
            return None  # collected meanwhile, and so was what names it, before

    def write(self, key: str, data: bytes | None) -> None:
        if data is None:
            return
        self._target.put(key, data)
        if self._target.head(key) != len(data):
            raise Corrupt(f"the copy has {self._target.head(key)} bytes", wanted=f"{len(data)} bytes", where=key)

    def in_order(self, keys: Sequence[str]) -> Iterator[str]:
        """Copies one after the other, read ahead; yields the keys that are done."""
        for key, data in zip(keys, ahead(self.read, keys), strict=True):
            self.write(key, data)
            yield key

    def line(self, keys: Sequence[str], clock: Clock) -> Iterator[str]:
        """Copies manifests, oldest first, and the boundary once the version that it names is there.

        The boundary is a version with a base: its manifest alone makes a line that can be read.
        """
        up_to_boundary = [key for key in keys if (paths.manifest_version(key) or 0) <= self._boundary.version]
        yield from self.in_order(up_to_boundary)
        if self._boundary.version > self._first:
            BoundaryLog(self._target).move(self._boundary.version, self._boundary.kept, clock)
        yield from self.in_order(keys[len(up_to_boundary) :])

    def _is_wanted(self, key: str) -> bool:
        of_version = (
            paths.manifest_version(key)
            or paths.upload_version(key)
            or paths.base_version(key)
            or paths.base_pack_version(key)
        )
        if of_version is None:
            return True
        # The first one's name tells this line of versions from another in the same place.
        return of_version == 1 or self._first <= of_version <= self._newest or of_version in self._below


def _refuse_another_line(source: ObjectStore, target: ObjectStore, model: str) -> None:
    held = newest_version(target)
    if held is None:
        return
    # What the source has collected cannot be compared; its first version is never collected.
    for version in (1, held) if held >= first_version(source) else (1,):
        ours, theirs = read_manifest(source, model, version), read_manifest(target, model, version)
        if ours is not None and theirs is not None and ours.commit_uuid == theirs.commit_uuid:
            continue
        raise Invalid(
            f"the target's version {version} is not the source's",
            wanted="an empty prefix, or an earlier copy",
            cure="choose another prefix",
            where=target.url,
        )
