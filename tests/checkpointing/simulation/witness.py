"""The truth of a run, kept in the plainest way, and the invariants that hold at every state of the store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections import defaultdict

from checkpointing import paths
from checkpointing.base import Base
from checkpointing.boundary import Boundary
from checkpointing.manifest import Graph, Manifest
from checkpointing.packfile import File
from checkpointing.signed import from_signed_json
from tests.checkpointing.simulation.scheduler import Scheduler
from tests.checkpointing.simulation.stream import State, Stream, after


class Violation(AssertionError):
    """An invariant does not hold."""


class Truth:
    """Sees each change of the store; what the first manifest of a number said is true for ever."""

    def __init__(self, scheduler: Scheduler, stream: Stream) -> None:
        self._scheduler = scheduler
        self._stream = stream
        self.keys: set[str] = set()
        self.boundary = Boundary()
        self.line: dict[int, Manifest] = {}
        self.states: dict[int, State] = {0: {}}
        # The newest version that replicas may answer from.
        self.servable = 0
        self._writer_of: dict[int, tuple[str, int]] = {}
        self._named: dict[str, set[str]] = defaultdict(set)
        self._content: dict[str, str] = {}

    def wrote(self, key: str, before: bytes | None, data: bytes) -> None:
        self.keys.add(key)
        if paths.boundary_number(key) is not None and before != data:
            self._move(from_signed_json(Boundary, data, what="boundary", where=key))
        elif before is not None:
            if before != data:
                self._overwritten(key, data)
            return
        self._content[key] = hashlib.sha256(data).hexdigest()
        version = paths.manifest_version(key)
        if version is not None:
            self._committed(key, Manifest.from_json(data))
        elif paths.base_version(key) is not None:
            self._based(key, Base.from_json(data))

    def deleted(self, key: str, before: bytes) -> None:
        self.keys.discard(key)
        version, base = paths.manifest_version(key), paths.base_version(key)
        if version is not None and (version >= self.boundary.version or version == 1):
            raise Violation(f"{key} was deleted, but the boundary is {self.boundary.version}")
        if base is not None and self.holds_version(base):
            raise Violation(f"{key} was deleted, but the boundary is {self.boundary}")
        if paths.boundary_number(key) is not None:
            raise Violation(f"{key} was deleted")
        if version is not None or base is not None:
            for named in self._named.values():
                named.discard(key)
        for owner in self._named.pop(key, ()):
            of = paths.manifest_version(owner)
            if of is None or of >= self.boundary.version:
                raise Violation(f"{key} was deleted, but {owner} names it")

    def holds_version(self, version: int) -> bool:
        """Whether anybody may begin to read it now."""
        return self.boundary.holds(version, version)

    def told(self, manifest: Manifest) -> None:
        """A writer was told that this is committed."""
        if self.line.get(manifest.version) != manifest:
            raise Violation(f"version {manifest.version} was told to be committed, and is not in the line")

    def fenced(self, epoch: int) -> None:
        """A writer of ``epoch`` was told that another has taken over."""
        if not any(manifest.epoch > epoch for manifest in self.line.values()):
            raise Violation(f"the writer of epoch {epoch} was fenced by its own commit")

    def holds(self, version: int, state: State, who: str) -> None:
        """Somebody believes that this is the state of ``version``."""
        if state != self.states[version]:
            raise Violation(f"{who} has {state} as version {version}, and it is {self.states[version]}")

    def _committed(self, key: str, manifest: Manifest) -> None:
        if manifest.version in self.line:
            if manifest.version >= self.boundary.version:
                raise Violation(f"{key} was committed twice")
            return  # a number of long ago: nobody reads it, and its writer must not be told
        self._names(key, [*manifest.files, *([manifest.graph] if manifest.graph else [])])
        parent = self.line.get(manifest.version - 1)
        epoch = 0 if parent is None else parent.epoch
        if manifest.version > 1 and parent is None:
            raise Violation(f"{key} has no parent")
        if manifest.epoch != epoch + (manifest.kind == "claim"):
            raise Violation(f"{key} is a {manifest.kind} of epoch {manifest.epoch} after epoch {epoch}")
        self._check_writer(key, manifest)
        state = self.states[manifest.predecessor or 0]
        for begin, end in self._trained(key, parent, manifest):
            state = after(state, self._stream.change(begin, end))
        self.states[manifest.version] = state
        self.line[manifest.version] = manifest
        if manifest.changes and manifest.gate.servable:
            self.servable = manifest.version

    def _trained(self, key: str, parent: Manifest | None, manifest: Manifest) -> list[tuple[int, int]]:
        """The records that a version trained: from where the one before it ends, without a gap, to its positions."""
        at = parent.positions[0].next_offset if parent is not None and parent.positions else 0
        runs = [(begin, end) for batch in manifest.batches for _, begin, end in batch]
        for begin, end in runs:
            if begin != at:
                raise Violation(f"{key} trains records from {begin} on, and those before it end at {at}")
            at = end
        if (manifest.positions[0].next_offset if manifest.positions else 0) != at:
            raise Violation(f"{key} has positions {manifest.positions}, and its records end at {at}")
        return runs

    def _check_writer(self, key: str, manifest: Manifest) -> None:
        # A commit may land after its writer crashed; the learner's name says whose it is.
        writer = (manifest.learner, manifest.epoch)
        name, _, life = manifest.environment.get("life", "").__str__().partition("/")
        if not life:
            return
        if self._writer_of.setdefault(manifest.epoch, (name, int(life))) != (name, int(life)):
            raise Violation(f"{key}: {writer} is not the writer of epoch {manifest.epoch}")

    def _based(self, key: str, base: Base) -> None:
        if base.version < self.boundary.version:
            return  # of a compaction that stood still: no reader begins there, and a collection deletes it
        files = [file for files in base.parts for file in files]
        self._names(key, [*files, *([base.graph] if base.graph else [])])
        if base.manifest != self.line.get(base.version):
            raise Violation(f"{key} is the base of another version")

    def _names(self, owner: str, files: list[File | Graph]) -> None:
        for file in files:
            if file.key not in self.keys:
                raise Violation(f"{owner} names {file.key}, which is missing")
            if self._content[file.key] != file.sha256:
                raise Violation(f"{owner} names {file.key}, which was overwritten")
            self._named[file.key].add(owner)

    def _overwritten(self, key: str, data: bytes) -> None:
        if key.startswith((paths.LEASES, paths.STORE_CLOCK)):
            return
        if self._named.get(key) or not key.startswith((paths.VERSIONS, paths.COMPACTED, paths.GRAPHS)):
            raise Violation(f"{key} was overwritten, and {sorted(self._named.get(key, ()))} name it")
        self._unnamed_overwritten(key)
        self._content[key] = hashlib.sha256(data).hexdigest()

    def _unnamed_overwritten(self, key: str) -> None:
        """A promise of the format; whoever patches it out sees whether breaking it does harm."""
        raise Violation(f"{key} was overwritten before anything named it")

    def _move(self, entry: Boundary) -> None:
        if entry.version < self.boundary.version:
            raise Violation(f"the boundary went from {self.boundary.version} to {entry.version}")
        self.boundary = entry
