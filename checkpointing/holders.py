"""Which objects of a store hold a row of one key still; reads all of them, changes none."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from checkpointing import paths
from checkpointing.base import base_versions, read_base
from checkpointing.content import Delta
from checkpointing.download import fetch
from checkpointing.history import ahead, read_manifest
from checkpointing.link import Source
from infra.errors import Corrupt
from infra.object_store import ObjectStore

# How admission counts stand among the sample ids (FORMAT.md 2.1): a map of this name for each table.
_COUNTS = "admission/{table}"


@dataclass(frozen=True)
class Holder:
    """A version or base that holds the key.

    Attributes:
        what: ``version 42`` or ``base 40``.
        version: Its number.
    """

    what: str
    version: int


def holders(store: ObjectStore, model: str, table: str, key: int) -> Iterator[Holder]:
    """Every version and base, collected ones that are not deleted yet included, that holds a row or a count of ``key``.

    A tombstone is no row. A version that is deleted meanwhile holds nothing; one whose file is missing neither.

    Raises:
        Corrupt: A manifest, base or file is wrong, so that nobody can say.
        Unavailable: The store does not answer.
    """
    numbers = [v for name in store.list(paths.MANIFESTS) if (v := paths.manifest_version(name)) is not None]

    def of_version(number: int) -> Holder | None:
        manifest = read_manifest(store, model, number)
        found = manifest is not None and _any(store, [manifest], table, key)
        return Holder(f"version {number}", number) if found else None

    def of_base(number: int) -> Holder | None:
        base = read_base(store, model, number)
        found = base is not None and _any(store, base.links(), table, key)
        return Holder(f"base {number}", number) if found else None

    yield from filter(None, ahead(of_version, numbers))
    yield from filter(None, map(of_base, base_versions(store)))


def _any(store: ObjectStore, sources: Sequence[Source], table: str, key: int) -> bool:
    return any(_holds(store, source, table, key) for source in sources)


def _holds(store: ObjectStore, source: Source, table: str, key: int) -> bool:
    counts = _COUNTS.format(table=table)
    named = {(part.role, part.name) for file in source.files for part in file.ranges}
    if not named & {("rows", table), ("sample_ids", f"{counts}/keys")}:
        return False
    try:
        delta = fetch(store, source, serving_only=False)
    except Corrupt:
        if any(not store.exists(file.key) for file in source.files):
            return False
        raise
    return any(rows.table == table and key in rows.keys for rows in delta.tables) or _counted(delta, counts, key)


def _counted(delta: Delta, counts: str, key: int) -> bool:
    keys = delta.sample_ids.get(f"{counts}/keys")
    if keys is None or (counters := delta.sample_ids.get(f"{counts}/counters")) is None or counters.shape[1]:
        return False  # blocks of a filter tell no key
    return bool((delta.sample_ids[f"{counts}/occurrences"][keys == key] > 0).any())
