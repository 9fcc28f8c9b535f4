"""Reads manifests as they appear and remembers the newest ones; must not open packs."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from checkpointing.boundary import first_version
from checkpointing.history import manifests, newest_version, read_manifest
from checkpointing.manifest import Manifest
from checkpointing.quality import Quality
from infra.clock import Clock
from infra.object_store import ObjectStore

# Enough for every version that a replica still lists as applied.
REMEMBERED: Final = 1_200
# Most manifests read at start; older ones are left to the history file.
BACK_FILL: Final = 20_000
CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Chunk:
    """Manifests that follow one another, and how many are still to come.

    Args:
        manifests: Oldest first.
        left: How many are known to be still unread.
        line: What tells this line of versions from another in the same place; only in the first chunk.
    """

    manifests: list[Manifest]
    left: int
    line: str | None = None


class ManifestReader:
    """Reads the numbered line of one model, in order, from where the caller left off.

    Args:
        store: The model's store.
        model: Its name.
        clock: Says when now is.
        pace_ms: How often versions are committed.
    """

    def __init__(self, store: ObjectStore, model: str, clock: Clock, pace_ms: int) -> None:
        self._clock = clock
        self._pace_ms = pace_ms
        self._store = store
        self._model = model
        self._next: int | None = None
        self._newest = 0

    def poll(self, through: int | None) -> Chunk:
        """The next manifests, at most :data:`CHUNK`.

        Args:
            through: The version up to which the caller has added up quality; None while the line is not known, and
                then only its name is read.

        Raises:
            Corrupt: A manifest is wrong or missing.
            Invalid: The store holds another model.
            Unavailable: The store does not answer.
        """
        if through is None:
            first = read_manifest(self._store, self._model, 1)
            return Chunk([], 0, None if first is None else first.commit_uuid)
        if self._next is None:
            self._newest = newest_version(self._store) or 0
            wanted = min(through + 1, self._newest - REMEMBERED)
            self._next = max(first_version(self._store), wanted, self._newest - BACK_FILL)
        found: list[Manifest] = []
        if self._next <= self._newest:
            last = min(self._newest, self._next + CHUNK - 1)
            found = list(manifests(self._store, self._model, self._next, last))
        else:
            while len(found) < CHUNK:
                manifest = read_manifest(self._store, self._model, self._next + len(found))
                if manifest is None:
                    break
                found.append(manifest)
                if committed_ms(manifest) > self._clock.now_ms() - self._pace_ms:
                    break  # the next one is not due: to ask in vain costs as much as to read one
        self._next += len(found)
        return Chunk(found, max(0, self._newest + 1 - self._next))


class VersionLog:
    """The newest manifests by version, and their rows in the page's table."""

    def __init__(self) -> None:
        self._manifests: dict[int, Manifest] = {}
        self._rows: dict[int, dict[str, Any]] = {}

    def add(self, manifest: Manifest, sums: Mapping[int, Quality]) -> None:
        """Remembers one manifest, of whose buckets ``sums`` are the quality, and forgets the oldest."""
        self._manifests[manifest.version] = manifest
        self._rows[manifest.version] = row(manifest, sums)
        while len(self._manifests) > REMEMBERED:
            oldest = next(iter(self._manifests))
            del self._manifests[oldest], self._rows[oldest]

    def get(self, version: int) -> Manifest | None:
        """The manifest of ``version``, if it is remembered."""
        return self._manifests.get(version)

    @property
    def newest(self) -> Manifest | None:
        """The newest manifest."""
        return next(reversed(self._manifests.values()), None)

    def refused(self) -> Manifest | None:
        """The newest delta, if the gate refused it."""
        delta = next((m for m in reversed(self._manifests.values()) if m.changes), None)
        return delta if delta is not None and not delta.gate.servable else None

    def rows(self, limit: int, served: Mapping[int, list[str]]) -> list[dict[str, Any]]:
        """The newest versions as rows, newest first.

        Args:
            limit: At most so many.
            served: Names of the replicas that answer from a version.
        """
        return [self.row(version, served) for version in list(reversed(self._rows))[:limit]]

    def row(self, version: int, served: Mapping[int, list[str]]) -> dict[str, Any]:
        """One remembered version as a row, as :meth:`rows` has it."""
        return self._rows[version] | {"served_by": served.get(version, [])}


def row(manifest: Manifest, sums: Mapping[int, Quality]) -> dict[str, Any]:
    """One version as the page's table shows it, but for who serves it."""
    quality = Quality()
    for bucket in sums.values():
        quality.add(bucket)
    return {
        "version": manifest.version,
        "kind": manifest.kind,
        "committed_ts": committed_ms(manifest),
        "rows": sum(part.rows for file in manifest.files for part in file.ranges if part.role == "rows"),
        "bytes": sum(file.bytes for file in manifest.files),
        "samples": quality.samples,
        "auc": quality.auc,
        "log_loss": quality.log_loss,
        "servable": manifest.gate.servable,
        "reasons": list(manifest.gate.reasons),
    }


def bucket_increments(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The quality increments of one manifest; members that are none are left out."""
    return {start: sums for start, sums in manifest.metrics.items() if isinstance(sums, dict) and start.isdecimal()}


def quality_sums(manifest: Manifest) -> dict[int, Quality]:
    """The same by the start of each bucket, milliseconds. To read them is most of what a version costs the page."""
    return {int(start): Quality.from_json(sums) for start, sums in bucket_increments(manifest).items()}


def committed_ms(manifest: Manifest) -> int:
    """When the manifest was put, milliseconds."""
    return manifest.timeline.committed_ts or manifest.created_ts


def sample_positions(manifest: Manifest, topic: str) -> dict[int, int]:
    """Per partition of the samples topic the offset after the last sample that the version has learned."""
    return {p.partition: p.next_offset for p in manifest.positions if p.topic == topic}


def committed_after(manifests: Sequence[Manifest], start_ms: int) -> bool:
    """Whether the newest of ``manifests`` was committed after ``start_ms``; older ones are back-fill."""
    return bool(manifests) and committed_ms(manifests[-1]) >= start_ms
