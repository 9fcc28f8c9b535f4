"""What crosses the boundary of this room as values: one commit, one switch, one restored state; moves nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from checkpointing.link import Source
from checkpointing.manifest import Gate, Graph, Manifest, Position, Probe, Timeline
from checkpointing.precision import Precision
from kernels.rows import TableRows

Array = NDArray[Any]
NamedArrays = Mapping[str, Array]
Run = tuple[int, int, int]  # partition, from, to


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything that one commit moves, and what the manifest says about it.

    The arrays are read while :meth:`checkpointing.writer.Writer.commit` runs and not afterwards, even if it raises:
    a commit whose outcome is unknown is kept by the writer as bytes.

    Attributes:
        tables: Rows touched and keys evicted since the last commit; a key once, as a row or as a tombstone.
        dense: The dense weights in the order of the graph's inputs; all of them, or none if none changed.
        dense_optimizer: State of the dense optimizer; all or none.
        statistics: Running feature statistics; all or none.
        sample_ids: The sample ids trained since the last commit, as the learner's window exports them.
        filters: Blocks of admission filters that changed since the last commit, by names of the tables' choice.
        precision: How replicas get a table's values; float32 where a table is not named. A learner restores float32.
        positions: Where to resume, of all partitions, as of the last trained batch.
        batches: The training batches since the last commit, in training order, as runs.
        learned_through: Milliseconds; see FORMAT.md 2.
        newest_known_ts: Milliseconds; see FORMAT.md 2.
        label_histogram: Counts over fixed edges.
        probes: Probes learned since the last commit.
        timeline: Of the oldest feedback; ``committed_ts`` is filled by the writer.
        metrics: Increments since the last commit.
        gate: Whether replicas may switch to it.
        environment: What a bit-identical replay needs to know.
        graph: The reference that ``Writer.put_graph`` returned; None leaves it as it was.
        feature_spec_hash: Hash of the features.
        kind: ``delta``, or ``heartbeat`` where nothing but positions and times can have changed, or ``revert`` to
            begin from ``base_ref`` instead of the last version.
        base_ref: Only for a revert: the version whose state the learner has restored, and from which the rest is a
            delta; 0 where the rest is everything.
        obeyed: The newest decision that the state follows.
        quarantined: Only for a revert: the samples that it leaves unlearned, as runs of offsets.
    """

    tables: Sequence[TableRows] = ()
    dense: NamedArrays = field(default_factory=dict)
    dense_optimizer: NamedArrays = field(default_factory=dict)
    statistics: NamedArrays = field(default_factory=dict)
    sample_ids: NamedArrays = field(default_factory=dict)
    filters: NamedArrays = field(default_factory=dict)
    precision: Mapping[str, Precision] = field(default_factory=dict)
    positions: Sequence[Position] = ()
    batches: Sequence[Sequence[Run]] = ()
    learned_through: int | None = None
    newest_known_ts: int | None = None
    label_histogram: Mapping[str, Any] = field(default_factory=dict)
    probes: Sequence[Probe] = ()
    timeline: Timeline = field(default_factory=Timeline)
    metrics: Mapping[Any, Any] = field(default_factory=dict)
    gate: Gate = field(default_factory=lambda: Gate(servable=True))
    environment: Mapping[str, Any] = field(default_factory=dict)
    graph: Graph | None = None
    feature_spec_hash: str = ""
    kind: Literal["delta", "heartbeat", "revert"] = "delta"
    base_ref: int | None = None
    obeyed: int = 0
    quarantined: Sequence[Run] = ()


@dataclass(frozen=True)
class Delta:
    """What one version's files hold, or those of one part of a base, read back and verified.

    Rows and tombstones stand in hash order. The arrays are views of the downloaded bytes and cannot be written to.
    Where only the serving part was read, slots are ``[n, 0]``, frequency and last_seen are zero, the last three are
    empty, and values are what the precision left of them.
    """

    source: Source
    tables: tuple[TableRows, ...]
    dense: dict[str, Array]
    statistics: dict[str, Array]
    precision: dict[str, Precision]
    dense_optimizer: dict[str, Array]
    sample_ids: dict[str, Array]
    filters: dict[str, Array]


@dataclass(frozen=True)
class ServingContent:
    """One switch of a replica: apply it to a snapshot that nobody reads, then publish.

    Attributes:
        manifest: Of the servable version that this switch leads to.
        full: True: the rows are all there are, and replace what the replica holds (start-up, revert). False: they are
            what changed since the last switch.
        tables: Rows and tombstones in hash order; slots are ``[n, 0]``. A full switch has no tombstones.
        dense: All dense weights, in the order of the graph's inputs, whether or not they changed.
        statistics: All feature statistics.
        graph: The dense program's reference; None if no version up to here has one.
        graph_bytes: The program itself, checked against its hash.
    """

    manifest: Manifest
    full: bool
    tables: tuple[TableRows, ...]
    dense: dict[str, Array]
    statistics: dict[str, Array]
    graph: Graph | None
    graph_bytes: bytes | None

    @property
    def version(self) -> int:
        return self.manifest.version


@dataclass(frozen=True)
class LearnerState:
    """The fold of one version, for a learner to go on from.

    Attributes:
        manifest: Of the version restored; its positions and times are the state's.
        tables: All rows by table, in hash order, without tombstones; empty where they were streamed.
        dense: Dense weights in order.
        dense_optimizer: State of the dense optimizer.
        statistics: Running feature statistics.
        sample_ids: One mapping per version that trained samples, oldest first; empty where they were streamed.
        filters: The newest block of each name.
        graph: The dense program's reference, if any.
    """

    manifest: Manifest
    tables: dict[str, TableRows]
    dense: dict[str, Array]
    dense_optimizer: dict[str, Array]
    statistics: dict[str, Array]
    sample_ids: tuple[dict[str, Array], ...]
    filters: dict[str, Array]
    graph: Graph | None

    @property
    def version(self) -> int:
        return self.manifest.version

    @property
    def epoch(self) -> int:
        return self.manifest.epoch

    @property
    def positions(self) -> tuple[Position, ...]:
        return self.manifest.positions


def no_state(
    table: str, keys: NDArray[np.int64], values: NDArray[np.float32], tombstones: NDArray[np.int64]
) -> TableRows:
    """Rows as a replica holds them: without optimizer state, counts or times."""
    count = len(keys)
    return TableRows(
        table=table,
        keys=keys,
        values=values,
        slots=np.zeros((count, 0), dtype=np.float32),
        frequency=np.zeros(count, dtype=np.uint32),
        last_seen=np.zeros(count, dtype=np.int64),
        tombstones=tombstones,
    )
