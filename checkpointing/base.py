"""A compacted version: what its object says and which objects there are; must not know how it is made."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from checkpointing import paths
from checkpointing.link import Link
from checkpointing.manifest import Graph, Manifest
from checkpointing.packfile import Count, File, Hex32, Int64, Part, check_files
from checkpointing.signed import from_signed_json, to_signed_json
from infra.errors import Corrupt
from infra.object_store import NotFound, ObjectStore

MAX_HASH_BITS: Final = 13
# 8,192 parts of about 80 tables; a part for each 64 MiB makes that half a terabyte.
MAX_BASE_BYTES: Final = 256 << 20


class Base(Part):
    """All rows and arrays of one version, FORMAT.md 2.2.

    Attributes:
        format: Of this object and its packs.
        attempt: Of the compaction; in the keys and headers of its files.
        hash_bits: The parts divide the rows by that many highest bits of their hash.
        parts: ``2 ** hash_bits`` lists of files; each is what one commit would write, without tombstones. Arrays stand
            in the first.
        graph: The dense program of the version, wherever it was named.
        created_ts: The compactor's clock.
        manifest: The version's own, word for word; its files may be gone.
    """

    format: Literal[2] = 2
    attempt: Hex32
    hash_bits: Annotated[Count, Field(le=MAX_HASH_BITS)]
    parts: tuple[tuple[File, ...], ...]
    graph: Graph | None
    created_ts: Int64
    manifest: Manifest

    @model_validator(mode="after")
    def _parts_belong(self) -> Self:
        if len(self.parts) != 1 << self.hash_bits:
            raise ValueError(f"{len(self.parts)} parts, wanted {1 << self.hash_bits}")
        for number, files in enumerate(self.parts):
            check_files(
                files,
                lambda key, number=number: paths.is_base_pack_of(key, self.version, self.attempt, number),  # type: ignore[misc]
                f"part {number} of base {self.version}",
            )
            if any(part.tombstones for file in files for part in file.ranges):
                raise ValueError(f"part {number} has tombstones; beneath a base there is nothing to delete")
        return self

    @property
    def version(self) -> int:
        return self.manifest.version

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for files in self.parts for file in files)

    def links(self) -> list[Link]:
        """The parts as steps of a fold that begins from nothing."""
        return [
            Link.of_files(self.manifest, self.attempt, self.graph if number == 0 else None, files)
            for number, files in enumerate(self.parts)
        ]

    def to_json(self) -> bytes:
        """The bytes of the object, checksum included."""
        return to_signed_json(self)

    @classmethod
    def from_json(cls, data: bytes, *, where: str = "base") -> Base:
        """Reads what :meth:`to_json` wrote.

        Raises:
            Corrupt: The bytes are not a base, or not the one that was written.
            Invalid: It has a newer format.
        """
        return from_signed_json(cls, data, what="base", where=where, most=MAX_BASE_BYTES)


def base_versions(store: ObjectStore) -> list[int]:
    """The versions that have a base, ascending; one list."""
    return sorted(version for key in store.list(paths.BASES) if (version := paths.base_version(key)) is not None)


def read_base(store: ObjectStore, model: str, version: int) -> Base | None:
    """The base of ``version``, or None where there is none.

    Raises:
        Corrupt: The object is not a base of this version.
        Invalid: It has a newer format.
        Unavailable: The store does not answer.
    """
    key = paths.base_key(version)
    try:
        data = store.get(key)
    except NotFound:
        return None
    base = Base.from_json(data, where=key)
    if (base.version, base.manifest.model) != (version, model):
        raise Corrupt(
            f"base is of version {base.version} of model `{base.manifest.model}`",
            wanted=f"version {version} of `{model}`",
            where=key,
        )
    return base
