"""Finds the newest version that replicas may answer from; opens no pack."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from typing import Final

from checkpointing.base import read_base
from checkpointing.boundary import Boundary, read_boundary
from checkpointing.history import ahead, read_manifest
from checkpointing.manifest import Manifest
from infra.errors import Corrupt, Invalid
from infra.object_store import ObjectStore

ONE_BY_ONE: Final = 3


def pinned_but_refused(manifest: Manifest, where: str) -> Invalid:
    """Why a pin to this version leads nowhere; ``where`` is the store's address."""
    return Invalid(
        f"version {manifest.version} is pinned, but the gate refused it: {', '.join(manifest.gate.reasons)}",
        wanted="a servable version",
        cure="pin another version, or `springtide promote` this one",
        where=where,
    )


def newest_servable(
    store: ObjectStore,
    model: str,
    newest: int,
    promoted: Collection[int] = (),
    on_manifest: Callable[[Manifest], object] | None = None,
) -> int | None:
    """The newest version up to ``newest`` that the gate let pass or a person promoted, or None.

    Where nothing above the boundary is servable, it is the newest base that was kept for that reason.

    Args:
        store: The model's store.
        model: Its name.
        newest: Where to begin; reads downwards from there.
        promoted: Versions that are servable by decision.
        on_manifest: Given each manifest read, newest first, the one found included; none but the newest where there
            is nothing servable.

    Raises:
        Corrupt: A manifest is wrong or missing.
        Invalid: It has a newer format, or is of another model.
        Unavailable: The store does not answer.
    """
    boundary = read_boundary(store)
    numbers = range(newest, boundary.version - 1, -1)

    def read(version: int) -> Manifest | None:
        return read_manifest(store, model, version)

    # The newest is servable as a rule: reading many ahead would be in vain.
    found = itertools.chain(map(read, numbers[:ONE_BY_ONE]), ahead(read, numbers[ONE_BY_ONE:]))
    for version, manifest in zip(numbers, found, strict=True):
        if manifest is None:
            now = read_boundary(store)
            if now.version > version:
                return newest_kept(store, model, now, promoted)  # collected meanwhile
            raise Corrupt(f"version {version} is missing", wanted=f"all versions up to {newest}", where=store.url)
        if on_manifest is not None:
            on_manifest(manifest)
        if manifest.changes and (manifest.gate.servable or version in promoted):
            return version
    return newest_kept(store, model, boundary, promoted)


def newest_kept(
    store: ObjectStore, model: str, boundary: Boundary, promoted: Collection[int], up_to: int | None = None
) -> int | None:
    """Likewise among the bases below ``boundary`` alone, of those up to ``up_to`` where that is given."""
    for version in sorted(boundary.kept, reverse=True):
        if up_to is not None and version > up_to:
            continue
        base = read_base(store, model, version)
        if base is not None and (base.manifest.gate.servable or version in promoted):
            return version
    return None
