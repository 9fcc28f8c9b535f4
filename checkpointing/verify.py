"""Reads everything that a store keeps and says what is wrong; repairs nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from checkpointing.base import base_versions, read_base
from checkpointing.boundary import first_version
from checkpointing.download import fetch, fetch_graph
from checkpointing.history import ahead, check_succession, newest_version, read_manifest
from checkpointing.link import Source
from checkpointing.manifest import Graph, Manifest
from infra.errors import Corrupt, Invalid
from infra.object_store import ObjectStore


@dataclass(frozen=True)
class Finding:
    """What one version or base was found to be.

    Attributes:
        what: ``version 42`` or ``base 40``.
        objects: How many objects were read whole.
        size: Their bytes.
        problem: What is wrong with them; None where nothing is.
    """

    what: str
    objects: int
    size: int
    problem: Corrupt | Invalid | None = None


def verify(store: ObjectStore, model: str, *, first: int | None = None, last: int | None = None) -> Iterator[Finding]:
    """Reads each version from ``first`` (None: the oldest kept) to ``last`` (None: the newest), then each base.

    Every checksum, order and shape is checked, as a learner's restore does; a graph only where a version names it.

    Raises:
        Unavailable: The store does not answer.
    """
    begin = first_version(store) if first is None else first
    end = newest_version(store) if last is None else last
    numbers = range(begin, (end or 0) + 1)
    earlier: Manifest | None = None
    for finding, manifest in ahead(lambda number: _version(store, model, number), numbers):
        problem = finding.problem
        if problem is None and earlier is not None and manifest is not None:
            problem = _failure(lambda a=earlier, b=manifest: check_succession(a, b))  # type: ignore[misc]
        earlier = manifest
        yield Finding(finding.what, finding.objects, finding.size, problem)
    for version in base_versions(store):
        if (first is None or version >= first) and (last is None or version <= last):
            yield _base(store, model, version)


def _version(store: ObjectStore, model: str, number: int) -> tuple[Finding, Manifest | None]:
    what = f"version {number}"
    try:
        manifest = read_manifest(store, model, number)
    except (Corrupt, Invalid) as error:
        return Finding(what, 0, 0, error), None
    if manifest is None:
        return Finding(what, 0, 0, Corrupt(f"{what} is missing", wanted="no gap", where=store.url)), None
    size = sum(file.bytes for file in manifest.files)
    return Finding(what, 1 + len(manifest.files), size, _contents(store, [manifest], manifest.graph)), manifest


def _base(store: ObjectStore, model: str, version: int) -> Finding:
    what = f"base {version}"
    try:
        base = read_base(store, model, version)
    except (Corrupt, Invalid) as error:
        return Finding(what, 0, 0, error)
    if base is None:
        return Finding(what, 0, 0)  # collected meanwhile
    objects = 1 + sum(len(files) for files in base.parts)
    return Finding(what, objects, base.size, _contents(store, base.links(), base.graph))


def _contents(store: ObjectStore, sources: Sequence[Source], graph: Graph | None) -> Corrupt | Invalid | None:
    def read() -> None:
        for source in sources:
            fetch(store, source, serving_only=False)
        if graph is not None:
            fetch_graph(store, graph)

    return _failure(read)


def _failure(action: Callable[[], object]) -> Corrupt | Invalid | None:
    try:
        action()
    except (Corrupt, Invalid) as error:
        return error
    return None
