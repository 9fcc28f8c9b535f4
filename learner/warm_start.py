"""Begins a new model with what another one has learned, none of whose samples counts as seen; must not know Kafka."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, replace

from checkpointing.content import Delta
from checkpointing.control import ControlLog
from checkpointing.history import newest_version
from checkpointing.restore import restore
from checkpointing.servable import newest_servable
from infra import spec
from infra.errors import Corrupt, Invalid
from infra.feature_spec import state_outline
from infra.logs import logger
from infra.object_store import ObjectStore
from learner.change import change
from learner.migration import Migration
from learner.outline import outline_of
from learner.restore import empty
from learner.table_state import counts_from_arrays
from learner.trainer import Trainer

_log = logger()


@dataclass(frozen=True)
class WarmStart:
    """The other model.

    Args:
        store: Its store.
        model: Its name.
    """

    store: ObjectStore
    model: str


def warm_start(pipeline: spec.Pipeline, trainer: Trainer, source: WarmStart) -> int:
    """Takes over what ``pipeline`` can use of the other model's newest servable version; may be called again.

    The rules are those of a change (:mod:`learner.change`), from the other's pipeline to this one; nothing is refused.
    Rows, weights, statistics and counts come along; positions, the sample-id window and what the gate knows do not.

    Args:
        pipeline: The new model's.
        trainer: In its first state, or as a failed call left it; all of it counts as changed afterwards.
        source: The other model.

    Returns:
        The version taken over.

    Raises:
        Invalid: The other model has no servable version, or none that says what it was made of.
        Corrupt: A file of the version is wrong.
        Unavailable: Its store does not answer.
    """
    version = _servable(source)
    migration: Migration | None = None

    def start() -> None:
        nonlocal migration
        migration = None
        empty(trainer)

    def take(delta: Delta) -> None:
        nonlocal migration
        migration = migration or _migration(pipeline, trainer, source, delta)
        for rows in migration.rows(delta):
            trainer.tables.import_rows(rows)
        for each in migration.counts(counts_from_arrays(delta.sample_ids)):
            trainer.tables.import_counts(each)

    state = restore(source.store, source.model, version, on_start=start, on_delta=take)
    if migration is not None:
        try:
            migration.arrays(replace(state, sample_ids=()))
        except (KeyError, ValueError) as error:
            what = f"version {version} does not fit its own outline: {error}"
            raise Corrupt(what, where=source.store.url) from error
        migration.mark_all()
    _log.info("started_warm", model=source.model, version=version)
    return version


def _servable(source: WarmStart) -> int:
    control = ControlLog(source.store, source.model)
    control.poll()
    newest = newest_version(source.store)
    found = newest and newest_servable(source.store, source.model, newest, control.decisions.promoted)
    if not found:
        raise Invalid(
            f"model `{source.model}` has no version that could be served",
            wanted="one to start warm from",
            cure="let its learner run first, or start without",
            where=source.store.url,
        )
    return found


def _migration(pipeline: spec.Pipeline, trainer: Trainer, source: WarmStart, delta: Delta) -> Migration:
    outline = outline_of(delta.dense_optimizer)
    if outline is None:
        raise Invalid(
            f"version {delta.source.version} of model `{source.model}` does not say what it was made of",
            wanted="a version of a newer learner",
            cure="restart its learner, and let it begin from a base or a state of its own",
            where=source.store.url,
        )
    return Migration(change(outline, state_outline(pipeline), same_model=False), pipeline, trainer)
