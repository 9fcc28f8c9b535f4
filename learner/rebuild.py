"""Rebuilds a version from an earlier one by training its samples once more, and compares; must not know commands."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from checkpointing.manifest import Manifest, plain_json
from infra import spec
from infra.clock import Clock
from infra.feature_spec import feature_spec_hash
from infra.kafka import PartitionReader
from infra.object_store import ObjectStore
from learner.assembly import training_environment
from learner.gate import QualityGate
from learner.replay import Learnt, replay
from learner.restore import restore_trainer
from learner.trainer import Trainer, state_of

State = dict[str, npt.NDArray[Any]]


@dataclass
class Rebuilt:
    """What a rebuild came to.

    Args:
        versions: How many versions were trained once more.
        batches: How many batches.
        samples: How many samples.
        arrays: How many arrays were compared.
        rows: How many rows the version holds.
        differences: What differs from the stored version, one line each; empty if nothing does.
        environment: What differs between this process and those that made the versions, one line each.
    """

    versions: int = 0
    batches: int = 0
    samples: int = 0
    arrays: int = 0
    rows: int = 0
    differences: list[str] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)


def rebuild(
    pipeline: spec.Pipeline,
    make_trainer: Callable[[], Trainer],
    store: ObjectStore,
    reader: PartitionReader,
    clock: Clock,
    *,
    first: int,
    last: int,
    progress: Callable[[int], Any] | None = None,
) -> Rebuilt:
    """Restores ``first``, trains what came after it up to ``last``, and compares with the stored ``last``.

    Rows, optimizer slots, frequencies, dense weights, statistics, the sample-id window and each version's progressive
    metrics are compared bit for bit. Nothing is written.

    Args:
        pipeline: The spec.
        make_trainer: Makes a trainer in its first state; called twice, since both states are in memory at the end.
        store: The model's store.
        reader: Of the samples topic.
        clock: Bounds the waiting.
        first: Where to begin; 0 for the state before the first sample.
        last: Which version to rebuild.
        progress: Told each version that is done.

    Raises:
        Invalid: There are no such versions, or the pipeline is another than theirs.
        Corrupt: A version is wrong, or the topic no longer holds its messages.
        Unavailable: Store or Kafka do not answer.
    """
    outcome = Rebuilt()
    here = plain_json(training_environment(pipeline), what="environment")
    noted: set[str] = set()

    def done(manifest: Manifest, learnt: Learnt) -> None:
        outcome.versions += 1
        outcome.batches += learnt.batches
        outcome.samples += learnt.samples
        if manifest.batches and plain_json(learnt.metrics, what="metrics") != manifest.metrics:
            outcome.differences.append(f"version {manifest.version}: progressive metrics")
        for name in sorted({*here, *manifest.environment}) if manifest.environment else ():
            if here.get(name) != manifest.environment.get(name) and name not in noted:
                noted.add(name)
                outcome.environment.append(
                    f"{name}: {here.get(name)} here, {manifest.environment.get(name)} in version {manifest.version}"
                )
        if progress is not None:
            progress(manifest.version)

    trainer = make_trainer()
    digest = feature_spec_hash(pipeline)
    if first:
        restore_trainer(trainer, QualityGate(), store, pipeline.name, first, digest)
    replay(store, pipeline.name, last, trainer, reader, clock, done, after=first)
    stored = make_trainer()
    restore_trainer(stored, QualityGate(), store, pipeline.name, last, digest)
    again, kept = state_of(trainer), state_of(stored)
    outcome.arrays = len(kept)
    outcome.rows = sum(stored.tables.row_count(table.name) for table in stored.tables.tables)
    outcome.differences += compare(again, kept)
    return outcome


def compare(again: State, stored: State) -> list[str]:
    """What differs between two states, bit for bit, one line per array."""
    found = []
    for name in [*stored, *(name for name in again if name not in stored)]:
        if name not in again or name not in stored:
            found.append(f"{name}: only in the {'rebuilt' if name in again else 'stored'} state")
            continue
        one, other = np.asarray(again[name]), np.asarray(stored[name])
        if one.dtype != other.dtype or one.shape != other.shape:
            found.append(f"{name}: {one.dtype} {list(one.shape)} rebuilt, {other.dtype} {list(other.shape)} stored")
        elif one.tobytes() != other.tobytes():
            # Bits, so that a NaN equals itself and -0.0 is not 0.0.
            bits = (np.ascontiguousarray(each).reshape(-1).view(np.uint8) for each in (one, other))
            odd = np.flatnonzero(np.not_equal(*bits)) // one.itemsize
            found.append(f"{name}: {len(np.unique(odd))} of {one.size} values")
    return found
