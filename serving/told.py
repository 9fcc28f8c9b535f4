"""What the follower tells a predictor of a version, and the files that go with it; knows no socket."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.native_output import silenced
from kernels.features import Feature, RunningStatistics
from kernels.tables import EmbeddingTables, Snapshot
from serving.dense_program import DenseGraphs, DenseProgram, PortableGraph
from serving.lite_program import RecentSizes
from serving.program import LitePair, PortableProgram, Program
from serving.snapshot import Published, Version

READY = b""
KEPT_GRAPHS = 4


@dataclass(frozen=True, eq=False)
class Prepare:
    """A version that the predictor shall have ready, under the number by which all will switch to it."""

    sequence: int
    version: int
    committed_ts: int
    statistics: Any
    program: PortableProgram | PortableGraph
    layout: list[int]


@dataclass(frozen=True)
class Keep:
    """What was switched to; of the versions that the predictor has, these go on being asked for by number."""

    sequences: tuple[int, ...]


Told = Prepare | Keep


def prepare(sequence: int, published: Published) -> bytes:
    """The message; the files that go with it are those of the snapshot."""
    version = published.version
    assert isinstance(version.program, DenseProgram)
    told = Prepare(
        sequence,
        version.number,
        version.committed_ts,
        version.statistics.state(),
        version.program.portable(),
        published.rows.layout,
    )
    return pickle.dumps(told, pickle.HIGHEST_PROTOCOL)


def keep(sequences: Sequence[int]) -> bytes:
    """The message."""
    return pickle.dumps(Keep(tuple(sequences)), pickle.HIGHEST_PROTOCOL)


class Arrivals:
    """Makes versions ready to answer of what was told of them; for one thread."""

    def __init__(self, features: Sequence[Feature], tables: EmbeddingTables) -> None:
        self._features = features
        self._tables = tables
        self._graphs = DenseGraphs()
        self._told = False
        self._sizes: dict[str, tuple[RecentSizes, RecentSizes]] = {}

    def published(self, told: Prepare, files: Sequence[int], known: Sequence[Snapshot]) -> Published:
        """The version.

        Args:
            told: What was told.
            files: Of its snapshot.
            known: Snapshots that may have memory in common with it.

        Raises:
            ValueError: The files are not as told.
            MemoryError: No room.
            Corrupt: TensorFlow does not take the graph.
        """
        rows = self._tables.opened(told.layout, files, known)
        statistics = RunningStatistics.from_state(self._features, told.statistics)
        return Published(Version(told.version, self._program(told.program), statistics, told.committed_ts), rows)

    def _program(self, program: PortableProgram | PortableGraph) -> Program:
        if isinstance(program, PortableGraph):
            return self._graphs.get(program.content, program.sha256, convertible=False).bind(program.weights)
        sizes = self._sizes.pop(program.graph, None) or (RecentSizes(), RecentSizes())
        self._sizes[program.graph] = sizes
        while len(self._sizes) > KEPT_GRAPHS:
            del self._sizes[next(iter(self._sizes))]
        # LiteRT tells of its first program in a process, straight to standard error.
        first, self._told = not self._told, True
        with silenced() if first else contextlib.nullcontext():
            return LitePair.arrived(program, *sizes)
