"""Makes versions ready of what a predictor was told of them and of the files that came with it; knows no socket."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
from collections.abc import Sequence

from infra.native_output import silenced
from kernels.features import Feature, RunningStatistics
from kernels.tables import EmbeddingTables, Snapshot
from serving.dense_program import DenseGraphs, DenseProgram, PortableGraph
from serving.lite_program import RecentSizes
from serving.program import PortableProgram, PreparedProgram, Program
from serving.snapshot import Published, Version
from serving.told import Prepare

KEPT_GRAPHS = 4


def prepare(sequence: int, published: Published) -> Prepare:
    """What to tell another process of a version, which goes with the files of its snapshot.

    Args:
        sequence: The number by which all will switch to it.
        published: The version as it is here.
    """
    version = published.version
    assert isinstance(version.program, DenseProgram)
    return Prepare(
        sequence,
        version.number,
        version.committed_ts,
        version.statistics.state(),
        version.program.portable(),
        tuple(published.rows.layout),
    )


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
            KeyError: A part of the statistics is missing.
            ValueError: The files or the statistics are not as told.
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
            return PreparedProgram.of(program, *sizes)
