"""The way to a version: the newest base among its ancestors, then the deltas after it; opens no pack."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from checkpointing.base import Base, base_versions, read_base
from checkpointing.history import ancestors, read_manifest
from checkpointing.link import Link
from checkpointing.manifest import Manifest
from infra.errors import Corrupt
from infra.logs import logger
from infra.object_store import ObjectStore

_log = logger()


@dataclass(frozen=True)
class Chain:
    """The steps whose files, applied in order to nothing, are the fold of one version (FORMAT.md 4).

    Attributes:
        manifest: Of the version.
        base: The base it begins with; None where it begins with the first version of all.
        links: The parts of the base, then the deltas; versions without content are left out.
        start: The lowest version of which an object is read.
        tail: The lowest that is read before the first revert's jump. What a revert starts from is kept for its sake.
    """

    manifest: Manifest
    base: Base | None
    links: tuple[Link, ...]
    start: int
    tail: int

    @property
    def deltas(self) -> tuple[Link, ...]:
        """The links after the base."""
        return self.links[0 if self.base is None else len(self.base.parts) :]

    def servable_before(self, broken: int, promoted: Collection[int]) -> int:
        """The newest version on the way, before ``broken``, that replicas may answer from; 0 if there is none."""
        servable = (link.version for link in self.links if link.servable or link.version in promoted)
        return max((version for version in servable if version < broken), default=0)


def plan(store: ObjectStore, model: str, target: int, *, without: Collection[int] = ()) -> Chain:
    """The chain of ``target``; costs one list and one get for each version after the base.

    Args:
        store: The model's store.
        model: Its name.
        target: The version to fold.
        without: Bases not to use, since a file of theirs is wrong.

    Raises:
        Corrupt: A manifest or base is wrong or missing.
        Invalid: There is no version ``target``.
        Unavailable: The store does not answer.
    """
    bases = [version for version in base_versions(store) if version <= target and version not in without]
    newest_first: list[Link] = []
    manifest: Manifest | None = None
    at, start, tail = target, target, 0
    while True:
        while bases and bases[-1] > at:
            bases.pop()
        if bases and bases[-1] == at:
            base, of_base = _base_of(store, model, bases.pop())
            if base is not None and of_base is not None:
                links = (*base.links(), *reversed(newest_first))
                return Chain(manifest or of_base, base, links, base.version, tail or base.version)
        following: int | None = None
        for step in ancestors(store, model, at, down_to=bases[-1] + 1 if bases else 1):
            manifest = manifest or step
            start = min(start, step.version)
            if step.changes:
                newest_first.append(Link.of(step))
            following = step.predecessor
            if following is not None and following != step.version - 1:
                tail = tail or start
                break  # a base may stand between here and where it jumps to
        assert manifest is not None  # `ancestors` raises where there is no target
        if following is None:
            return Chain(manifest, None, tuple(reversed(newest_first)), start, tail or start)
        at = following


def manifest_of(store: ObjectStore, model: str, version: int) -> Manifest:
    """The manifest of ``version``, from its base where only that was kept; raises as :func:`plan`."""
    return read_manifest(store, model, version) or plan(store, model, version).manifest


def _base_of(store: ObjectStore, model: str, version: int) -> tuple[Base | None, Manifest | None]:
    """The base of ``version`` and the version's manifest; None where the base is gone or of another line.

    A store that was rewound may hold bases of versions that it has lost since and that were committed anew. A base that
    is wrong is passed over, too: the deltas before it may be there still.
    """
    try:
        base = read_base(store, model, version)
    except Corrupt as error:
        _log.error("base_passed_over", version=version, error=error)
        return None, None
    if base is None:
        return None, None
    manifest = read_manifest(store, model, version)
    if manifest is not None and manifest.commit_uuid != base.manifest.commit_uuid:
        return None, None
    return base, manifest or base.manifest
