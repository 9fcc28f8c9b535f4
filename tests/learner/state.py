"""What a learner knows, read back and compared bit for bit; knows no Kafka and no running learner."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from infra import spec
from infra.feature_spec import feature_spec_hash
from infra.object_store import ObjectStore
from learner.gate import QualityGate
from learner.migration import Migration
from learner.outline import Outline
from learner.restore import restore_trainer
from learner.trainer import Trainer, state_of


def restored(
    trainer: Trainer,
    pipeline: spec.Pipeline,
    store: ObjectStore,
    version: int,
    migrate: Callable[[Outline], Migration] | None = None,
) -> Trainer:
    """``trainer``, which is in its first state, as ``version`` has it."""
    digest = feature_spec_hash(pipeline)
    restore_trainer(trainer, QualityGate(), store, pipeline.name, version, digest, migrate=migrate)
    return trainer


def assert_same(one: Trainer, other: Trainer) -> None:
    """Every array of both is the same, bit for bit."""
    mine, theirs = state_of(one), state_of(other)
    assert list(mine) == list(theirs)
    for name, array in mine.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
