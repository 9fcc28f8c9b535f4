"""What of a store nobody can want any more, told from what was listed and read of it; makes no request."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checkpointing import paths
from checkpointing.base import Base
from checkpointing.boundary import Boundary
from checkpointing.retention import LineFacts
from infra.object_store import Entry


@dataclass(frozen=True)
class Held:
    """Versions that somebody wants: with everything after them, or their base alone."""

    lines: set[int]
    bases: set[int]


@dataclass(frozen=True)
class Listing:
    """What a collection found.

    Attributes:
        line: Manifests.
        documents: Objects of bases, by version.
        bases: Those that could be read.
        uploads: Packs of versions, and marks of reverts.
        compacted: Packs of bases.
        programs: Graphs.
        graphs: Keys of the graphs that versions name.
        facts: Of the line.
        held: By leases and decisions.
    """

    line: Sequence[Entry]
    documents: Mapping[int, Entry]
    bases: Mapping[int, Base]
    uploads: Sequence[Entry]
    compacted: Sequence[Entry]
    programs: Sequence[Entry]
    graphs: Mapping[int, str]
    facts: LineFacts
    held: Held

    def wanted_below(self, boundary: Boundary) -> tuple[int, set[int]]:
        """From which version on everything stays, and the versions below it of which the base does.

        The boundary alone does not say: a revert or a lease may have come between its entry and now.
        """

        def reach(version: int) -> int:
            """Where a fold of ``version`` may begin."""
            return max((base for base in self.documents if base <= version), default=1)

        floor = min([boundary.version, *(reach(version) for version in self.held.lines if version < boundary.version)])
        while True:
            needed = self.facts.needed_below(floor)
            alone = needed.intersection(self.documents)
            if needed == alone:
                return floor, alone | self.held.bases | set(boundary.kept)
            floor = reach(min(needed - alone))

    def dead_below(self, boundary: Boundary, settled_ms: int) -> list[Entry]:
        """What nobody wants below ``boundary``: documents first, so that nothing names what is gone.

        Args:
            boundary: An entry that has had its grace time, or one that is to be.
            settled_ms: What was written later is protected, and what it names.
        """
        floor, kept = self.wanted_below(boundary)
        living = {version for version in self.documents if version >= floor or version in kept}
        dead = [entry for version, entry in self.documents.items() if version not in living]
        # The first one's name tells this line of versions from another in the same place.
        dead += [entry for entry in self.line if 1 < (paths.manifest_version(entry.key) or 1) < floor]
        dead += [e for e in self.uploads if (v := paths.upload_version(e.key)) is not None and v < floor]
        # What an object that is still there names stays until that object is gone.
        living |= {version for version, entry in self.documents.items() if entry.modified_ms > settled_ms}
        named = self._named(living, floor)
        unread = living.difference(self.bases)
        # A file without a manifest or base may be on its way to one, until the boundary has passed its number.
        dead += [
            entry
            for entry in self.compacted
            if entry.key not in named and (v := paths.base_pack_version(entry.key) or floor) < floor and v not in unread
        ]
        # Whatever a base that cannot be read may name.
        unsure = max(unread, default=-1)
        dead += [
            entry
            for entry in self.programs
            if entry.key not in named and (v := paths.graph_version(entry.key)) is not None and unsure < v < floor
        ]
        return dead

    def _named(self, living: set[int], floor: int) -> set[str]:
        named = {key for version, key in self.graphs.items() if version >= floor}
        for version in living.intersection(self.bases):
            base = self.bases[version]
            named.update(file.key for files in base.parts for file in files)
            if base.graph is not None:
                named.add(base.graph.key)
        return named
