"""Reads the numbered line of manifests, for start-up, the page and people; must not open packs or write."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from checkpointing import paths
from checkpointing.manifest import Manifest
from infra.errors import Corrupt, Invalid
from infra.object_store import NotFound, ObjectStore

THREADS: Final = 8
# Results that may wait in memory for their turn.
AHEAD: Final = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


def newest_version(store: ObjectStore, *, after: int = 0) -> int | None:
    """The largest version greater than ``after``, or None; lists, so never for the hot path."""
    listing = store.list(paths.MANIFESTS, after=paths.manifest_key(after))
    return max((version for key in listing if (version := paths.manifest_version(key)) is not None), default=None)


def read_manifest(store: ObjectStore, model: str, version: int) -> Manifest | None:
    """The manifest of ``version``, or None where that version does not exist.

    Raises:
        Corrupt: The object is not a manifest of this version.
        Invalid: It has a newer format, or belongs to another model.
        Unavailable: The store does not answer.
    """
    key = paths.manifest_key(version)
    try:
        data = store.get(key)
    except NotFound:
        return None
    manifest = Manifest.from_json(data, where=key)
    if manifest.version != version:
        raise Corrupt(f"version is {manifest.version}", wanted=str(version), where=key)
    if manifest.model != model:
        raise Invalid(
            f"the store holds model `{manifest.model}`",
            wanted=f"`{model}`",
            cure="give each model its own prefix in `store.url`",
            where=store.url,
        )
    return manifest


def manifests(store: ObjectStore, model: str, first: int = 1, last: int | None = None) -> Iterator[Manifest]:
    """The manifests of versions ``first`` to ``last`` (None: to the newest), ascending, fetched ahead in parallel.

    Costs one list, if ``last`` is None, and one get each.

    Raises:
        Corrupt: A manifest is wrong, or missing between others.
    """
    end = newest_version(store, after=first - 1) if last is None else last
    if end is None:
        return
    for version, manifest in zip(
        range(first, end + 1),
        ahead(lambda number: read_manifest(store, model, number), range(first, end + 1)),
        strict=True,
    ):
        if manifest is None:
            raise Corrupt(
                f"version {version} is missing", wanted=f"all versions from {first} to {end}", where=store.url
            )
        yield manifest


def chain(store: ObjectStore, model: str, target: int, known: dict[int, Manifest] | None = None) -> list[Manifest]:
    """The manifests whose files, applied in order, are the fold of ``target`` (FORMAT.md 4).

    Args:
        store: The model's store.
        model: Its name.
        target: The version to fold.
        known: Manifests that were already read, by version; they are not read again.

    Raises:
        Corrupt: A manifest is wrong or missing.
        Invalid: There is no version ``target``.
    """
    line = dict(known or {})
    missing = [number for number in range(1, target + 1) if number not in line]
    read = ahead(lambda number: read_manifest(store, model, number), missing)
    line.update({number: manifest for number, manifest in zip(missing, read, strict=True) if manifest is not None})
    if target not in line:
        raise Invalid(
            f"there is no version {target}", cure="list the versions with `springtide versions`", where=store.url
        )
    links = []
    at: int | None = target
    while at is not None:  # ends: a predecessor is a smaller number
        if at not in line:
            raise Corrupt(f"version {at} is missing", wanted=f"all ancestors of version {target}", where=store.url)
        links.append(line[at])
        at = line[at].predecessor
    return links[::-1]


def check_succession(earlier: Manifest, later: Manifest) -> None:
    """Whether ``later`` may follow ``earlier``, its parent.

    Raises:
        Corrupt: The epoch jumps: a claim adds one, everything else keeps it.
    """
    wanted = earlier.epoch + (later.kind == "claim")
    if later.version != earlier.version + 1 or later.epoch != wanted:
        raise Corrupt(
            f"epoch is {later.epoch} in a {later.kind} after epoch {earlier.epoch}",
            wanted=str(wanted),
            where=paths.manifest_key(later.version),
        )


def ahead(task: Callable[[Item], Result], items: Sequence[Item], *, keep: int = AHEAD) -> Iterator[Result]:
    """``task`` of each item, in order, by several threads, with at most ``keep`` results waiting."""
    if len(items) == 1:  # the hot path of small commits and of every switch needs no thread
        yield task(items[0])
        return
    with ThreadPoolExecutor(THREADS, thread_name_prefix="versions") as pool:
        waiting: list[Future[Result]] = []
        try:
            for item in items:
                waiting.append(pool.submit(task, item))
                if len(waiting) >= keep:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
