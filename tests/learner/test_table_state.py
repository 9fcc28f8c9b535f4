"""Whatever the tables of a pipeline.yaml keep, a learner that was killed goes on from its versions bit for bit."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError

from checkpointing.content import Content
from checkpointing.writer import Writer
from infra import spec, spec_table
from infra.clock import SystemClock
from infra.errors import Invalid
from infra.feature_spec import feature_spec_hash
from infra.object_store import open_store
from kernels.optimizer_settings import CONSTANT_RATE, OPTIMIZER_KINDS, SMALLEST_EPSILON, OptimizerSettings
from learner.gate import QualityGate
from learner.restore import WINDOW, restore_trainer
from learner.table_state import counts_to_arrays, table_state
from learner.trainer import Trainer, state_of
from springtide.wiring import table_settings
from tests.learner.messages import batch, message, pipeline
from tests.learner.training import make_trainer

TABLES: dict[str, dict[str, Any]] = {
    "counted and swept": {
        "admission": {"kind": "counter", "occurrences": 2},
        "eviction": {"step_ttl": 3, "rows_per_step": 5, "max_rows": 40, "order": "lru"},
        "optimizer": {"kind": "adam_async", "learning_rate": 0.01},
    },
    "filtered, small, growing": {
        "admission": {"kind": "bloom", "occurrences": 2, "capacity": 1000, "period": "1s"},
        "ladder": [{"dim": 2, "until": 4}],
        "precision": "bfloat16",
        "eviction": {"time_ttl": "20s"},
        "optimizer": {"kind": "adagrad", "schedule": {"kind": "cosine", "warmup": 2, "steps": 5, "factor": 0.1}},
    },
    "by chance": {
        "admission": {"kind": "probability", "probability": 0.4},
        "precision": "float16",
        "optimizer": {"kind": "adagrad_decay", "decay_steps": 2},
    },
    "shared while cold": {
        "admission": {"kind": "counter", "occurrences": 4},
        "adaptive": {"rows": 5},
        "ladder": [{"dim": 2, "until": 9}],
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
    },
    "of two parts": {
        "multi_hash": {"quotients": 5, "remainders": 3, "combine": "multiply"},
        "initializer": {"scale": 0.1},
        "eviction": {"max_rows": 3},
    },
}


def settings(name: str) -> spec.Pipeline:
    tables = [{"name": table, "dim": 4, **TABLES[name]} for table in ("user", "item", "genre")]
    return pipeline(tables=tables, model={"hidden": [4], "optimizer": {"kind": "lion", "learning_rate": 0.001}})


def commit(writer: Writer, trainer: Trainer, digest: str) -> int:
    rows = trainer.tables.capture()
    content = Content(
        tables=rows,
        dense=trainer.step.dense(),
        dense_optimizer=trainer.step.optimizer.state() | table_state(trainer.tables),
        statistics=trainer.statistics.state(),
        sample_ids={WINDOW: np.ascontiguousarray(trainer.window.capture()), **counts_to_arrays(rows)},
        feature_spec_hash=digest,
    )
    return writer.commit(content).version


@pytest.mark.parametrize("name", TABLES)
def test_a_restored_learner_goes_on_bit_for_bit(name: str) -> None:
    chosen = settings(name)
    digest = feature_spec_hash(chosen)
    store = open_store(spec.Store(url=f"memory://tables-{list(TABLES).index(name)}"))
    writer = Writer.take_over(store, chosen.name, "one", SystemClock())
    bodies = [[message(20 * step + number) for number in range(20)] for step in range(8)]
    through = make_trainer(chosen)
    for step, of_step in enumerate(bodies):
        through.train(batch(list(of_step), 20 * step))
        if step in (1, 3, 5):
            version = commit(writer, through, digest)
    killed = make_trainer(chosen)
    restore_trainer(killed, QualityGate(), store, chosen.name, version, digest)
    for step in (6, 7):
        killed.train(batch(list(bodies[step]), 20 * step))
    wanted, got = state_of(through), state_of(killed)
    assert list(wanted) == list(got)
    for part, array in wanted.items():
        assert array.tobytes() == got[part].tobytes(), part
    assert sum(len(array) for part, array in wanted.items() if part.endswith("/keys")) > 0


def test_settings_that_can_never_work_are_refused_with_their_place() -> None:
    wrong = pipeline(
        tables=[{"name": "user", "dim": 4, "admission": {"kind": "bloom", "occurrences": 300}}]
        + [{"name": name, "dim": 4} for name in ("item", "genre")]
    )
    with pytest.raises(Invalid, match="would never admit a key") as caught:
        table_settings(wrong)
    assert "tables[0]" in str(caught.value)


def test_every_stored_table_knows_whose_it_is() -> None:
    trainer = make_trainer(settings("shared while cold"))
    assert trainer.tables.spaces == {
        stored: name for name in ("user", "item", "genre") for stored in (name, f"{name}__shared")
    }


def test_what_shapes_a_table_is_part_of_the_feature_spec_and_a_rate_is_not() -> None:
    plain = pipeline()
    hashes = {feature_spec_hash(plain)}
    for name in TABLES:
        hashes.add(feature_spec_hash(settings(name)))
    assert len(hashes) == 1 + len(TABLES)
    faster = [{"name": name, "dim": 4, "optimizer": {"learning_rate": 0.5}} for name in ("user", "item", "genre")]
    slower = [{"name": name, "dim": 4} for name in ("user", "item", "genre")]
    assert feature_spec_hash(pipeline(tables=faster)) == feature_spec_hash(pipeline(tables=slower))


@pytest.mark.parametrize("kind", sorted(CONSTANT_RATE))
def test_a_rate_that_the_state_is_made_of_is_part_of_the_feature_spec(kind: str) -> None:
    def of(rate: float) -> list[str]:
        optimizer = {"kind": kind, "learning_rate": rate}
        rows = [{"name": name, "dim": 4, "optimizer": optimizer} for name in ("user", "item", "genre")]
        return [
            feature_spec_hash(pipeline(tables=rows)),
            feature_spec_hash(pipeline(model={"name": "deepfm", "hidden": [8], "optimizer": optimizer})),
        ]

    rows, weights = zip(of(0.1), of(0.2), strict=True)
    assert rows[0] != rows[1] and weights[0] != weights[1]


def test_the_spec_and_the_kernels_know_the_same_rules() -> None:
    assert get_args(spec_table.OptimizerKind) == OPTIMIZER_KINDS
    assert spec_table.CONSTANT_RATE == CONSTANT_RATE
    with pytest.raises(ValidationError, match="epsilon"):
        spec_table.Optimizer(epsilon=SMALLEST_EPSILON / 2)
    assert OptimizerSettings.of(spec_table.Optimizer(epsilon=SMALLEST_EPSILON).model_dump())
