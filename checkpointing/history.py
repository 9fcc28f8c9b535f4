"""Reads the numbered line of manifests, for start-up, the page and people; must not open packs or write."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from checkpointing import paths
from checkpointing.boundary import first_version
from checkpointing.manifest import Manifest
from infra.errors import Corrupt, Invalid
from infra.object_store import NotFound, ObjectStore

THREADS = 8
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


def manifests(store: ObjectStore, model: str, first: int | None = None, last: int | None = None) -> Iterator[Manifest]:
    """The manifests of versions ``first`` to ``last``, ascending, fetched ahead in parallel.

    None stands for the oldest that was not collected, and for the newest. Costs one list, if ``last`` is None, and one
    get each.

    Raises:
        Corrupt: A manifest is wrong, or missing between others.
        Invalid: A version asked for was collected, or has a newer format.
    """
    first = first_version(store) if first is None else first
    end = newest_version(store, after=first - 1) if last is None else last
    if end is None:
        return
    for version, manifest in zip(
        range(first, end + 1),
        ahead(lambda number: read_manifest(store, model, number), range(first, end + 1)),
        strict=True,
    ):
        if manifest is None:
            boundary = first_version(store)
            if version < boundary:
                raise Invalid(
                    f"version {version} was collected", wanted=f"versions from {boundary} on", where=store.url
                )
            raise Corrupt(
                f"version {version} is missing", wanted=f"all versions from {first} to {end}", where=store.url
            )
        yield manifest


def ancestors(store: ObjectStore, model: str, target: int, *, down_to: int = 1) -> Iterator[Manifest]:
    """``target`` and the versions whose files its fold needs, newest first, down to ``down_to``; fetched ahead.

    Follows predecessors (FORMAT.md 4): behind a revert comes the version that it starts from.

    Raises:
        Invalid: There is no version ``target``.
        Corrupt: A manifest is wrong or missing.
        Unavailable: The store does not answer.
    """
    at: int | None = target
    while at is not None and at >= down_to:
        for version, manifest in _descending(store, model, at, down_to):
            if manifest is None:
                raise _missing(store, version, target)
            yield manifest
            at = manifest.predecessor
            if at != version - 1:
                break  # a jump, or the first version of all


def _descending(store: ObjectStore, model: str, first: int, last: int) -> Iterator[tuple[int, Manifest | None]]:
    numbers = range(first, last - 1, -1)
    yield from zip(numbers, ahead(lambda number: read_manifest(store, model, number), numbers), strict=True)


def _missing(store: ObjectStore, version: int, target: int) -> Corrupt | Invalid:
    if version == target:
        return Invalid(
            f"there is no version {target}", cure="list the versions with `springtide versions`", where=store.url
        )
    return Corrupt(f"version {version} is missing", wanted=f"all ancestors of version {target}", where=store.url)


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
    # The hot path of small commits and of every switch needs no thread; a simulation wants none.
    if len(items) == 1 or THREADS == 1:
        yield from map(task, items)
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
