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
from infra.logs import logger
from infra.object_store import ObjectStore
from kernels.features import RunningStatistics
from kernels.sample_window import SampleIdWindow
from learner.gate import QualityGate
from learner.gate_memory import without_memory
from learner.migration import Migration
from learner.outline import Outline, outline_of, without_outline
from learner.table_state import counts_from_arrays, restore_table_state
from learner.trainer import Trainer

_log = logger()

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
    migrate: Callable[[Outline], Migration] | None = None,
) -> LearnerState:
    """Brings ``trainer`` to the state of ``version``, delta by delta; may be called again after a failure.

    Where another pipeline made the version and ``migrate`` is given, what the new one can use is taken over
    (:func:`migrated` tells that it was), and all of it counts as changed: the next version must begin from nothing.

    Args:
        trainer: In its first state, or as a failed call left it.
        gate: Learns what the replicas have, and what waits for them.
        store: The model's store.
        model: The model's name.
        version: Which version.
        spec_hash: Of the pipeline that the trainer was built from.
        progress: Called with (versions done, versions in all).
        migrate: Says for the outline of another pipeline what becomes of its state.

    Raises:
        Invalid: The version was made by other features, tables or another model, and that is not allowed.
        Corrupt: A file of the version is wrong.
        Unavailable: The store does not answer.
    """
    newest = last_servable(store, model, version)
    servable = 0 if newest is None else newest.version

    migration: Migration | None = None

    def start() -> None:
        nonlocal migration
        migration = None
        empty(trainer)
        gate.begin(servable)

    def take(delta: Delta) -> None:
        nonlocal migration
        if delta.source.feature_spec_hash not in ("", spec_hash):
            # All versions since one that began from nothing have the same outline, and the first has one.
            outline = None if migrate is None or migration is not None else outline_of(delta.dense_optimizer)
            if migrate is not None and outline is not None:
                migration = migrate(outline)
            if migration is None:
                _refuse_other_spec(delta.source.feature_spec_hash, spec_hash, delta.source.version)
        if migration is not None:
            delta = replace(delta, tables=tuple(migration.rows(delta)), dense={})
        for rows in delta.tables:
            trainer.tables.import_rows(rows)
        gate.restored(delta)
        counts = counts_from_arrays(delta.sample_ids)
        for each in counts if migration is None else migration.counts(counts):
            trainer.tables.import_counts(each)
        if WINDOW in delta.sample_ids:
            trainer.window.import_increment(np.asarray(delta.sample_ids[WINDOW], np.int64))

    state = restore(store, model, version, on_start=start, on_delta=take, progress=progress)
    if migration is None and gate.lacks is not None:
        _refer(gate, store, model, gate.lacks)
    memory = state.dense_optimizer if migration is None or migration.same_stream else {}
    gate.ended(memory, servable, by_promotion=newest is not None and not newest.gate.servable)
    try:
        if migration is not None:
            migration.arrays(state)
            migration.mark_all()
            gate.migrated(trainer.step.dense())
        else:
            _load(trainer, state)
    except (KeyError, ValueError) as error:
        raise Corrupt(f"version {version} does not fit its own feature spec: {error}", where=store.url) from error
    return state


def migrated(state: LearnerState, spec_hash: str) -> bool:
    """Whether ``state`` was made by another pipeline than that with ``spec_hash``."""
    return state.manifest.feature_spec_hash not in ("", spec_hash)


def _refer(gate: QualityGate, store: ObjectStore, model: str, servable: int) -> None:
    """What replicas have, where the state itself began with a newer base; without it nothing is scored."""
    try:
        restore(store, model, servable, on_start=gate.forget_reference, on_delta=gate.refer)
    except (Corrupt, Invalid) as error:
        gate.forget_reference()
        _log.warning("gate_reference_missing", version=servable, error=error)


def _load(trainer: Trainer, state: LearnerState) -> None:
    dense_optimizer = restore_table_state(trainer.tables, without_outline(without_memory(state.dense_optimizer)))
    if state.dense:
        trainer.step.load(state.dense)
        trainer.step.load_own(dense_optimizer)
    if state.statistics:
        trainer.statistics = RunningStatistics.from_state(trainer.encoder.features, state.statistics)


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


def empty(trainer: Trainer) -> None:
    """Forgets everything: a next try may begin with a newer base, which names nothing that was deleted before it."""
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
