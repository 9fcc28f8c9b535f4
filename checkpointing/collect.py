"""Deletes what no reader can want any more, in an order that no crash can harm; decides nothing about policy."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from checkpointing import lease, paths
from checkpointing.base import Base, read_base
from checkpointing.boundary import Boundary, BoundaryLog, read_entry
from checkpointing.commit import Persistence
from checkpointing.control import ControlLog
from checkpointing.download import fetch
from checkpointing.garbage import Held, Listing
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
        self._reverts: set[tuple[int, int]] = set()
        self._servable = 0
        self._scanned = 0
        self._proven: set[str] = set()

    def run(self, *, dry_run: bool = False) -> Collected:
        """Deletes what lies below a boundary that is a grace time old, then moves the boundary as the policy allows.

        The boundary moves once in a grace time at most. What one run gives up, one that comes a grace time later
        deletes, so that a reader without a lease has that long to finish.

        Args:
            dry_run: Whether to move and delete nothing, and only say what would be; the store's clock is read by a
                write of `gc/clock/now` all the same.

        Raises:
            Corrupt: A manifest, an entry of the boundary, or the base that would become the first, is wrong; nothing
                that can be read was deleted.
            Unavailable: The store does not answer; what was not deleted is, the next time.
        """
        now_ms = self._tries(self._store_time, "read the store's clock")
        settled_ms = now_ms - self._grace_ms
        before, ripe = self._entries(settled_ms)
        listing = self._look(before, now_ms)
        lapsed = [entry for entry in self._list(paths.LEASES) if entry.modified_ms <= settled_ms]
        dead = listing.dead_below(ripe, settled_ms) + lapsed
        old = [entry for entry in dead if entry.modified_ms <= settled_ms]
        if not dry_run:
            self._delete(old)
        after = before
        if ripe.number == before.number:
            after = self._choose(listing, before, now_ms)
            if after is not before and not dry_run:
                after = self._move(after)
        given_up = {entry.key for entry in listing.dead_below(after, settled_ms)}.union(entry.key for entry in dead)
        return Collected(after, before, tuple(old), len(given_up) - len(old))

    def _entries(self, settled_ms: int) -> tuple[Boundary, Boundary]:
        """The newest entry of the boundary, and the newest that is a grace time old."""
        written = {
            number: entry.modified_ms
            for entry in self._list(paths.BOUNDARIES)
            if (number := paths.boundary_number(entry.key)) is not None
        }
        newest, ripe = max(written, default=0), max((n for n, at in written.items() if at <= settled_ms), default=0)

        def read(number: int) -> Boundary:
            return self._tries(lambda: read_entry(self._store, number), f"read boundary {number}")

        before = read(newest)
        return before, before if ripe == newest else read(ripe)

    def _look(self, before: Boundary, now_ms: int) -> Listing:
        """Reads what there is; leases only now, so that a reader whose lease is not seen has seen the ripe entry."""
        line = self._list(paths.MANIFESTS)
        modified = {v: e.modified_ms for e in line if (v := paths.manifest_version(e.key)) is not None}
        self._scan(before.version, max(modified, default=0))
        documents = {v: e for e in self._list(paths.BASES) if (v := paths.base_version(e.key)) is not None}
        bases = {v: base for v in documents if (base := self._base(v)) is not None}
        held = self._held(now_ms, bases)
        uploads = self._list(paths.VERSIONS)
        facts = LineFacts(
            {v: at for v, at in modified.items() if v >= before.version},
            self._reverts.union(mark for entry in uploads if (mark := paths.revert_of(entry.key)) is not None),
            self._answering(before, bases),
        )
        compacted, programs = self._list(paths.COMPACTED), self._list(paths.GRAPHS)
        return Listing(line, documents, bases, uploads, compacted, programs, self._graphs, facts, held)

    def _choose(self, found: Listing, before: Boundary, now_ms: int) -> Boundary:
        """The boundary as the policy allows it; ``before`` where it stays."""
        bases, facts, held = found.bases, found.facts, found.held
        usable = [v for v in sorted(bases) if v >= before.version and self._is_of_this_line(bases[v])]
        still = set(before.kept).intersection(bases)
        first = boundary_of(usable, facts, held.lines, self._retention, before.version, now_ms, still)
        first = max(first, self._forgetting(found, usable, before, now_ms))
        if first == before.version:
            return before
        self._prove(bases[first])
        below = [v for v in sorted(bases) if v < first and (v in before.kept or v >= before.version)]
        kept = kept_for_ever((v for v in below if self._forgets(bases[v])), self._retention.every)
        kept |= (held.bases | facts.needed_below(first)).intersection(below)
        kept |= set(before.kept).intersection(found.documents).difference(bases)  # what is wrong may be put right
        return Boundary(version=first, kept=tuple(sorted(kept)))

    def _forgetting(self, found: Listing, usable: Sequence[int], before: Boundary, now_ms: int) -> int:
        """The lowest base that ends what holds a key to be forgotten, whatever the policy wants; 0 where none does."""
        bases, facts, held = found.bases, found.facts, found.held
        line = before.version not in bases or not self._forgets(bases[before.version])
        alone = {v for v in before.kept if v in bases and not self._forgets(bases[v])}
        if not self._control.decisions.forgotten or not (line or alone):
            return 0
        soon = Retention(versions=1, age_s=self._grace_ms / 1000)
        clean = {v for v, base in bases.items() if self._forgets(base)}
        for version in (v for v in usable if v > before.version and v in clean):
            first = boundary_of([version], facts, held.lines, soon, before.version, now_ms, clean)
            if first == version and (line or alone - held.bases - facts.needed_below(version)):
                return version
        return 0

    def _forgets(self, base: Base) -> bool:
        """Whether ``base`` was made after all deletions that people decided."""
        forgotten = self._control.decisions.forgotten
        return not forgotten or base.manifest.obeyed >= forgotten[-1].number

    def _move(self, boundary: Boundary) -> Boundary:
        return self._tries(
            lambda: BoundaryLog(self._store).move(boundary.version, boundary.kept, self._clock), "move the boundary"
        )

    def _answering(self, before: Boundary, bases: Mapping[int, Base]) -> int:
        """The newest version that replicas may answer from, in the line or as a kept base."""
        promoted = {v for v in self._control.decisions.promoted if v >= before.version or v in bases}
        kept = {v for v in before.kept if v in bases and bases[v].manifest.gate.servable}
        return max({self._servable} | promoted | kept)

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
        return next(e.modified_ms for e in self._store.entries(paths.STORE_CLOCK) if e.key == paths.STORE_CLOCK_KEY)

    def _scan(self, first: int, newest: int) -> None:
        """Reads the manifests that are new since the last collection, for their graphs, reverts and gates."""
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
            if manifest.base_ref:  # committed before reverts had marks, perhaps
                self._reverts.add((version, manifest.base_ref))
            if manifest.changes and manifest.gate.servable:
                self._servable = version
            self._scanned = version

    def _held(self, now_ms: int, bases: Container[int]) -> Held:
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
        return Held(lines, only)

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
