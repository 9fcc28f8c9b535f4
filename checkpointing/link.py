"""One step of a fold: the files to apply and nothing else, small enough to hold by the hundred thousand."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import TypeAdapter

from checkpointing.manifest import Graph, Manifest
from checkpointing.packfile import File

_FILES: Final = TypeAdapter(tuple[File, ...])


class Source(Protocol):
    """Where one step of a fold comes from: a manifest, or a :class:`Link`."""

    @property
    def version(self) -> int: ...
    @property
    def attempt(self) -> str: ...
    @property
    def files(self) -> tuple[File, ...]: ...
    @property
    def graph(self) -> Graph | None: ...
    @property
    def feature_spec_hash(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Link:
    """A version's own files, or those of one part of a base; a thirtieth of its manifest's size.

    Attributes:
        version: The version, or that of the base.
        servable: Whether the gate let it pass.
        attempt: As in the keys and headers of its files.
        feature_spec_hash: Of the version.
        graph: The dense program from this step on; None leaves it.
        packed_files: The files as compressed JSON; :attr:`files` reads them.
    """

    version: int
    servable: bool
    attempt: str
    feature_spec_hash: str
    graph: Graph | None
    packed_files: bytes

    @classmethod
    def of(cls, manifest: Manifest) -> Link:
        """What a fold needs of ``manifest``."""
        return cls.of_files(manifest, manifest.attempt, manifest.graph, manifest.files)

    @classmethod
    def of_files(cls, manifest: Manifest, attempt: str, graph: Graph | None, files: tuple[File, ...]) -> Link:
        """Other files with the content of ``manifest``, as a base has them."""
        return cls(
            version=manifest.version,
            servable=manifest.gate.servable,
            attempt=attempt,
            feature_spec_hash=manifest.feature_spec_hash,
            graph=graph,
            packed_files=zlib.compress(_FILES.dump_json(files), 1),
        )

    @property
    def files(self) -> tuple[File, ...]:
        return _FILES.validate_json(zlib.decompress(self.packed_files), strict=True)
