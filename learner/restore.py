"""A version becomes a trainer's state again; must not know Kafka or how training goes on."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from checkpointing.boundary import read_boundary
from checkpointing.chain import manifest_of
from checkpointing.content import Delta, LearnerState
from checkpointing.control import ControlLog
from checkpointing.history import ancestors
from checkpointing.manifest import Manifest
from checkpointing.restore import restore
from checkpointing.servable import newest_kept
from infra.errors import Corrupt, Invalid
from infra.object_store import ObjectStore
from kernels.features import RunningStatistics
from kernels.sample_window import SampleIdWindow
from learner.gate import QualityGate
from learner.gate_memory import without_memory
from learner.table_state import counts_from_arrays, restore_table_state
from learner.trainer import Trainer

# The name under which the sample-id window's increments stand in a version.
WINDOW: Final = "window"


def restore_trainer(
    trainer: Trainer,
    gate: QualityGate,
    store: ObjectStore,
    model: str,
    version: int,
    spec_hash: str,
    progress: Callable[[int, int], None] | None = None,
) -> LearnerState:
    """Brings ``trainer`` to the state of ``version``, delta by delta; may be called again after a failure.

    Args:
        trainer: In its first state, or as a failed call left it.
        gate: Learns what the replicas have, and what waits for them.
        store: The model's store.
        model: The model's name.
        version: Which version.
        spec_hash: Of the pipeline that the trainer was built from.
        progress: Called with (versions done, versions in all).

    Raises:
        Invalid: The version was made by other features, tables or another model.
        Corrupt: A file of the version is wrong.
        Unavailable: The store does not answer.
    """

    newest = last_servable(store, model, version)
    servable = 0 if newest is None else newest.version

    def start() -> None:
        _empty(trainer)
        gate.begin(servable)

    def take(delta: Delta) -> None:
        _refuse_other_spec(delta.source.feature_spec_hash, spec_hash, delta.source.version)
        for rows in delta.tables:
            trainer.tables.import_rows(rows)
        gate.restored(delta)
        for counts in counts_from_arrays(delta.sample_ids):
            trainer.tables.import_counts(counts)
        if WINDOW in delta.sample_ids:
            trainer.window.import_increment(np.asarray(delta.sample_ids[WINDOW], np.int64))

    state = restore(store, model, version, on_start=start, on_delta=take, progress=progress)
    gate.ended(state.dense_optimizer, servable, by_promotion=newest is not None and not newest.gate.servable)
    try:
        dense_optimizer = restore_table_state(trainer.tables, without_memory(state.dense_optimizer))
        if state.dense:
            trainer.step.load(state.dense)
            trainer.step.load_own(dense_optimizer)
        if state.statistics:
            trainer.statistics = RunningStatistics.from_state(trainer.encoder.features, state.statistics)
    except (KeyError, ValueError) as error:
        raise Corrupt(f"version {version} does not fit its own feature spec: {error}", where=store.url) from error
    return state


def last_servable(store: ObjectStore, model: str, version: int) -> Manifest | None:
    """The newest version on the way to ``version`` that replicas may answer from; None without any.

    Below the boundary only bases are left: then it is the newest of those.
    """
    control = ControlLog(store, model)
    control.poll()
    promoted, boundary = control.decisions.promoted, read_boundary(store)
    at: int | None = version
    for manifest in ancestors(store, model, version, down_to=boundary.version):
        if manifest.changes and (manifest.gate.servable or manifest.version in promoted):
            return manifest
        at = manifest.predecessor
    kept = None if at is None else newest_kept(store, model, boundary, promoted, up_to=at)
    return None if kept is None else manifest_of(store, model, kept)


def _empty(trainer: Trainer) -> None:
    """After a failure the next try may begin with a newer base, which names nothing that was deleted before it."""
    # What still runs beside the last step belongs to the rows that leave.
    trainer.drain()
    trainer.window = SampleIdWindow(trainer.window.horizon_ms)
    for table in trainer.tables.tables:
        rows = trainer.tables.export(table.name)
        nothing = {name: getattr(rows, name)[:0] for name in ("keys", "values", "slots", "frequency", "last_seen")}
        counts = rows.counts and replace(rows.counts, occurrences=np.zeros_like(rows.counts.occurrences))
        gone = replace(rows, **nothing, tombstones=rows.keys, counts=counts)
        trainer.tables.import_rows(gone)


def _refuse_other_spec(found: str, wanted: str, version: int) -> None:
    # A claim on an empty store has none.
    if found not in ("", wanted):
        raise Invalid(
            f"version {version} was made by other features, tables or another model (feature spec {found[:12]})",
            wanted=f"the spec that this pipeline has ({wanted[:12]})",
            cure="undo the change, or give the changed model a store prefix of its own",
        )
