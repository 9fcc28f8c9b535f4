"""A model that has learned and is in a store, and what another pipeline makes of it; knows no broker."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np

from checkpointing.content import Content
from checkpointing.writer import Writer
from infra import spec
from infra.clock import SystemClock
from infra.feature_spec import feature_spec_hash, state_outline
from infra.object_store import ObjectStore
from learner.assembly import build_gate
from learner.gate import QualityGate
from learner.migration import migrations
from learner.outline import outline_to_arrays
from learner.restore import WINDOW, restore_trainer
from learner.table_state import counts_to_arrays, table_state
from learner.trainer import Trainer
from tests.learner.messages import batch, message
from tests.learner.training import make_trainer

SAMPLES = 256


def teach(trainer: Trainer, begin: int = 0, samples: int = SAMPLES) -> None:
    """Lets it learn some of the stream."""
    for first in range(begin, begin + samples, 64):
        trainer.train(batch([message(number) for number in range(first, first + 64)], first=first))


def commit(trainer: Trainer, pipeline: spec.Pipeline, store: ObjectStore, **more: Any) -> int:
    """What the trainer has changed, as the next version."""
    writer = Writer.take_over(store, pipeline.name, "one", SystemClock())
    trainer.drain()
    rows = trainer.tables.capture()
    outline = outline_to_arrays(state_outline(pipeline))
    content = Content(
        tables=rows,
        dense=trainer.step.dense(),
        dense_optimizer=trainer.step.own_state() | table_state(trainer.tables) | outline,
        statistics=trainer.statistics.state(),
        sample_ids={WINDOW: np.ascontiguousarray(trainer.window.capture()), **counts_to_arrays(rows)},
        feature_spec_hash=feature_spec_hash(pipeline),
        **more,
    )
    return writer.commit(content).version


def learned(pipeline: spec.Pipeline, store: ObjectStore) -> Trainer:
    """A trainer that has learned, and whose state is in the store, in two versions."""
    trainer = make_trainer(pipeline)
    teach(trainer, 0, SAMPLES // 2)
    commit(trainer, pipeline, store)
    teach(trainer, SAMPLES // 2, SAMPLES // 2)
    commit(trainer, pipeline, store)
    return trainer


def taken_over(pipeline: spec.Pipeline, store: ObjectStore, *, scores: bool = False) -> tuple[Trainer, QualityGate]:
    """A trainer of ``pipeline`` with what it could use of a version of another one, and a gate that was told.

    With ``scores`` it is one that scores with what replicas have.
    """
    trainer = make_trainer(pipeline)
    gate = build_gate(pipeline, trainer) if scores else QualityGate()
    migrate = migrations(pipeline, trainer, store.url)
    restore_trainer(trainer, gate, store, pipeline.name, 4, feature_spec_hash(pipeline), migrate=migrate)
    return trainer, gate


def rows_of(trainer: Trainer, table: str) -> dict[int, tuple[Any, Any, int]]:
    """Values, slots and frequency by key."""
    rows = trainer.tables.export(table)
    return {
        int(key): (values, slots, int(frequency))
        for key, values, slots, frequency in zip(rows.keys, rows.values, rows.slots, rows.frequency, strict=True)
    }


def predictions(trainer: Trainer) -> Any:
    """Of samples that it has not learned; learns nothing."""
    ready = trainer.ready(batch([message(number) for number in range(900, 964)]))
    scaled = trainer.statistics.scale(ready.lesson.encoded)
    inputs = trainer.tables.reader().lookup(scaled)
    return trainer.step.model(np.array(inputs), training=False).numpy()
