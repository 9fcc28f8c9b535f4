"""Deletes what no reader can want any more, in an order that no crash can harm; decides nothing about policy."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from checkpointing import lease, paths
from checkpointing.base import Base, read_base
from checkpointing.boundary import Boundary, read_boundary
from checkpointing.commit import Persistence
from checkpointing.control import ControlLog
from checkpointing.download import fetch
from checkpointing.history import ahead, read_manifest
from checkpointing.lease import LeaseNote
from checkpointing.link import Link
from checkpointing.retention import LineFacts, Retention, boundary_of, kept_for_ever
from infra.clock import Clock
from infra.errors import Corrupt
from infra.logs import logger
from infra.object_store import Entry, NotFound, ObjectStore

_log = logger()

RETRY_FOR_S: Final = 60.0

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Collected:
    """What one collection found, and deleted unless it was a dry run.

    Attributes:
        boundary: The boundary from now on.
        before: The one before.
        deleted: The objects, in the order of their deletion.
        young: Dead objects that the grace time protects yet.
    """

    boundary: Boundary
    before: Boundary
    deleted: tuple[Entry, ...]
    young: int

    @property
    def size(self) -> int:
        """Bytes deleted."""
        return sum(entry.size for entry in self.deleted)


@dataclass(frozen=True)
class _Held:
    """Versions that somebody wants: with everything after them, or their base alone."""

    lines: set[int]
    bases: set[int]


class Collector:
    """Collects the store of one model; remembers what it read of the line, so that each manifest is read once."""

    def __init__(
        self,
        store: ObjectStore,
        model: str,
        clock: Clock,
        retention: Retention,
        *,
        stop: threading.Event | None = None,
    ) -> None:
        """Makes no request yet.

        Args:
            store: The model's store.
            model: Its name.
            clock: For the boundary's date and the pauses of retries; ages are measured by the store's clock.
            retention: What to keep.
            stop: Ends waits for the store early, with ``Stopped``.
        """
        self._store = store
        self._model = model
        self._clock = clock
        self._retention = replace(retention, age_s=max(retention.age_s, lease.GRACE_S))
        self._grace_ms = round(lease.GRACE_S * 1000)
        self._persistence = Persistence(clock, RETRY_FOR_S, stop or threading.Event())
        self._control = ControlLog(store, model)
        self._graphs: dict[int, str] = {}
        self._reverts: dict[int, int] = {}
        self._scanned = 0
        self._proven: set[str] = set()

    def run(self, *, dry_run: bool = False) -> Collected:
        """Moves the boundary as far as the policy allows and deletes what lies below it.

        Args:
            dry_run: Whether to move and delete nothing, and only say what would be; the store's clock is read by a
                write of `gc/clock` all the same.

        Raises:
            Corrupt: A manifest, or the base that would become the first, is wrong; nothing was deleted.
            Unavailable: The store does not answer; what was not deleted is, the next time.
        """
        now_ms = self._tries(self._store_time, "read the store's clock")
        before = self._tries(lambda: read_boundary(self._store), "read the boundary")
        line = self._list(paths.MANIFESTS)
        modified = {v: e.modified_ms for e in line if (v := paths.manifest_version(e.key)) is not None}
        self._scan(before.version, max(modified, default=0))
        documents = {v: e for e in self._list(paths.BASES) if (v := paths.base_version(e.key)) is not None}
        bases = {v: base for v in documents if (base := self._base(v)) is not None}
        held = self._held(now_ms, bases)
        usable = [v for v in sorted(bases) if v >= before.version and self._is_of_this_line(bases[v])]
        facts = LineFacts({v: at for v, at in modified.items() if v >= before.version}, self._reverts)
        first = before.version
        if self._boundary_written_ms() <= now_ms - self._grace_ms // 4:  # a late repeat of that put must not undo this
            first = boundary_of(usable, facts, held.lines, self._retention, before.version, now_ms)
        if first > before.version:
            self._prove(bases[first])
        below = [v for v in sorted(bases) if v < first and (v in before.kept or v >= before.version)]
        kept = kept_for_ever(below, self._retention.every) | held.bases.intersection(below)
        kept |= set(before.kept).intersection(documents).difference(bases)  # what is wrong may be put right
        if first == before.version:
            kept = set(before.kept)
        boundary = Boundary(version=first, kept=tuple(sorted(kept)), created_ts=self._clock.now_ms())
        if not dry_run and first > before.version:
            self._tries(lambda: self._store.put(paths.BOUNDARY_KEY, boundary.to_json()), "write the boundary")
        # Only now: a reader whose lease is not seen here sees the new boundary.
        held = self._held(now_ms, bases)
        dead = self._dead(line, documents, bases, min([first, *held.lines]), kept | held.bases, now_ms)
        old = [entry for entry in dead if entry.modified_ms <= now_ms - self._grace_ms]
        if not dry_run:
            self._delete(old)
        return Collected(boundary, before, tuple(old), len(dead) - len(old))

    def _dead(
        self,
        line: Iterable[Entry],
        documents: dict[int, Entry],
        bases: dict[int, Base],
        floor: int,
        kept: set[int],
        now_ms: int,
    ) -> list[Entry]:
        """What is not wanted any more: documents first, so that nothing names what is gone."""
        living = {version for version in documents if version >= floor or version in kept}
        dead = [entry for version, entry in documents.items() if version not in living]
        # The first one's name tells this line of versions from another in the same place.
        dead += [entry for entry in line if 1 < (paths.manifest_version(entry.key) or 1) < floor]
        dead += [e for e in self._list(paths.VERSIONS) if (v := paths.pack_version(e.key)) is not None and v < floor]
        # What an object that is still there names stays until that object is gone.
        young = {v for v, entry in documents.items() if entry.modified_ms > now_ms - self._grace_ms}
        # A file without a manifest or base may be on its way to one, until the boundary has passed its number.
        named = {file.key for v in living | young if v in bases for files in bases[v].parts for file in files}
        named |= {graph.key for v in living | young if v in bases and (graph := bases[v].graph) is not None}
        named |= {key for version, key in self._graphs.items() if version >= floor}
        unread = (living | young).difference(bases)
        for prefix, version_of in ((paths.COMPACTED, paths.base_pack_version), (paths.GRAPHS, paths.graph_version)):
            dead += [
                entry
                for entry in self._list(prefix)
                if entry.key not in named and (v := version_of(entry.key)) is not None and v < floor
                if not (v in unread or (prefix == paths.GRAPHS and unread and v <= max(unread)))
            ]
        dead += [e for e in self._list(paths.LEASES) if e.modified_ms <= now_ms - self._grace_ms]
        return dead

    def _delete(self, entries: list[Entry]) -> None:
        documents = [entry for entry in entries if paths.base_version(entry.key) is not None]
        rest = [entry for entry in entries if paths.base_version(entry.key) is None]
        for group in (documents, rest):
            for _ in ahead(self._delete_one, group):
                pass

    def _delete_one(self, entry: Entry) -> None:
        self._tries(lambda: self._store.delete(entry.key), f"delete {entry.key}")

    def _store_time(self) -> int:
        """The store's clock, by the time that it gives to an object just written."""
        self._store.put(paths.STORE_CLOCK_KEY, b"")
        return next(e.modified_ms for e in self._store.entries(paths.COLLECTION) if e.key == paths.STORE_CLOCK_KEY)

    def _boundary_written_ms(self) -> int:
        entries = self._list(paths.COLLECTION)
        return next((entry.modified_ms for entry in entries if entry.key == paths.BOUNDARY_KEY), 0)

    def _scan(self, first: int, newest: int) -> None:
        """Reads the manifests that are new since the last collection, for their graphs and reverts."""
        numbers = range(max(first, self._scanned + 1), newest + 1)
        for version, manifest in zip(
            numbers,
            ahead(lambda v: self._tries(lambda: read_manifest(self._store, self._model, v), f"read {v}"), numbers),
            strict=True,
        ):
            if manifest is None:
                raise Corrupt(f"version {version} is missing", wanted=f"all from {first} on", where=self._store.url)
            if manifest.graph is not None:
                self._graphs[version] = manifest.graph.key
            if manifest.base_ref is not None:
                self._reverts[version] = manifest.base_ref
            self._scanned = version

    def _held(self, now_ms: int, bases: Container[int]) -> _Held:
        """What living leases and decisions want."""
        self._tries(self._control.poll, "read the control log")
        decisions = self._control.decisions
        lines, only = set[int](), set[int]()
        revert = decisions.revert
        wanted = [decisions.pin]
        if revert is not None and revert.decided_ts > now_ms - self._grace_ms:
            wanted.append(revert)
        for decision in wanted:
            if decision is not None and decision.version is not None:
                (only if decision.version in bases else lines).add(decision.version)
        for entry in self._list(paths.LEASES):
            if entry.modified_ms > now_ms - self._grace_ms and paths.is_lease(entry.key):
                lease = self._tries(lambda key=entry.key: self._lease(key), f"read {entry.key}")  # type: ignore[misc]
                if lease is not None:
                    (only if lease.base_only else lines).add(lease.version)
        return _Held(lines, only)

    def _lease(self, key: str) -> LeaseNote | None:
        try:
            return LeaseNote.from_json(self._store.get(key), where=key)
        except NotFound:
            return None

    def _base(self, version: int) -> Base | None:
        try:
            return self._tries(lambda: read_base(self._store, self._model, version), f"read base {version}")
        except Corrupt as error:
            _log.error("base_passed_over", version=version, error=error)
            return None

    def _is_of_this_line(self, base: Base) -> bool:
        manifest = self._tries(
            lambda: read_manifest(self._store, self._model, base.version), f"read version {base.version}"
        )
        return manifest is not None and manifest.commit_uuid == base.manifest.commit_uuid

    def _prove(self, base: Base) -> None:
        """Reads all of a base before what it replaces is deleted.

        Raises:
            Corrupt: A file of it is missing or wrong.
        """
        if base.attempt not in self._proven:

            def read(link: Link) -> None:
                self._tries(lambda: fetch(self._store, link, serving_only=False), "prove the base")

            for _ in ahead(read, base.links(), keep=2):
                pass
            self._proven.add(base.attempt)

    def _list(self, prefix: str) -> list[Entry]:
        return self._tries(lambda: self._store.entries(prefix), f"list {prefix}")

    def _tries(self, action: Callable[[], Answer], what: str) -> Answer:
        return self._persistence.tries(action, what)
