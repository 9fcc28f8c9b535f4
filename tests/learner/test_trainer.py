"""One batch after another: what is learned, what is not, and what a broken number does to the rest."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from infra import spec
from infra.clock import iso
from kernels.arrow_columns import ids_of
from kernels.optimizer_settings import OPTIMIZER_KINDS
from kernels.tables import ColumnSettings, EmbeddingTables, EncodedBatch, OptimizerSettings, TableSettings
from learner.optimizers import build_optimizer
from learner.step import TrainingStep
from learner.tensorflow_setup import tf
from learner.trainer import Learned, state_of
from tests.learner.messages import NOW, PIPELINE, batch, message, pipeline
from tests.learner.training import make_trainer

FEATURES = PIPELINE["features"]


def unchanged(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether rows, dense weights and optimizers are the same; ids and numbers that were seen are another matter."""
    names = [name for name in before if not name.startswith(("window", "statistics"))]
    return list(before) == list(after) and all(np.array_equal(before[name], after[name]) for name in names)


LOGISTIC = {"model": {"name": "lr"}, "tables": [{"name": name, "dim": 1} for name in ("user", "item", "genre")]}


@pytest.mark.parametrize("settings", [{}, LOGISTIC], ids=["deepfm", "lr"])
def test_it_learns_what_the_stream_teaches(settings: dict[str, Any]) -> None:
    trainer = make_trainer(pipeline(**settings))
    for begin in range(0, 6400, 64):
        trainer.train(batch([message(number) for number in range(begin, begin + 64)], begin))
    trainer.metrics.take()
    learned = trainer.train(batch([message(number) for number in range(6400, 6464)]))
    (bucket,) = trainer.metrics.take().values()
    assert learned.trained == 64
    assert bucket["log_loss_sum"] / 64 < 0.62 < np.log(2)


def test_repeats_within_a_batch_and_across_are_learned_once() -> None:
    trainer = make_trainer()
    first = trainer.train(batch([message(1), message(1), message(2)]))
    assert (first.trained, first.duplicates) == (2, 1)
    before = state_of(trainer)
    again = trainer.train(batch([message(2), message(1)], 3))
    assert (again.trained, again.duplicates) == (0, 2)
    assert unchanged(before, state_of(trainer))


def test_what_has_no_weight_or_no_label_changes_nothing_not_even_momentum() -> None:
    adam = {"kind": "adam", "learning_rate": 0.1}
    tables = [{"name": name, "dim": 4, "optimizer": adam} for name in ("user", "item", "genre")]
    trainer = make_trainer(pipeline(tables=tables, model={"hidden": [4], "optimizer": adam}))
    trainer.train(batch([message(number) for number in range(8)]))
    before = state_of(trainer)
    learned = trainer.train(batch([message(10, weight=0), message(11, label_click=None)], 8))
    assert learned.trained == 0 and len(learned.fresh) == 2
    assert unchanged(before, state_of(trainer))


def test_the_weight_of_a_sample_counts() -> None:
    one, other = make_trainer(), make_trainer()
    one.train(batch([message(1)]))
    other.train(batch([message(1, weight=0.25)]))
    assert not unchanged(state_of(one), state_of(other))


def test_a_wild_number_is_set_aside_and_leaves_the_rest_as_if_it_had_not_been() -> None:
    alone, beside = make_trainer(), make_trainer()
    alone.train(batch([message(1), message(3)]))
    learned = beside.train(batch([message(1), message(2, age=1e200), message(3)]))
    assert [rejected.index for rejected in learned.rejected] == [1]
    assert unchanged(state_of(alone), state_of(beside))


def test_a_gradient_that_explodes_teaches_nothing_and_training_goes_on() -> None:
    trainer = make_trainer()
    trainer.train(batch([message(number) for number in range(8)]))
    # What a learning rate far too high leads to.
    trainer.step.load({name: np.full_like(value, 1e20) for name, value in trainer.step.dense().items()})
    before = state_of(trainer)
    trainer.metrics.take()
    again: list[bytes | None] = [
        # A prediction of 1 that is right has no gradient; here all are wrong.
        message(number, sample_id=f"more-{number}#click.0", label_click=0, age=60)
        for number in range(8)
    ]
    assert trainer.train(batch(again, 8)).exploded
    assert unchanged(before, state_of(trainer))
    assert trainer.metrics.take() == {}
    trainer.step.load({name: np.zeros_like(value) for name, value in trainer.step.dense().items()})
    assert not trainer.train(batch([message(number) for number in range(16, 24)], 16)).exploded


def unscaled() -> spec.Pipeline:
    """Numbers reach the model as they are, so that a message can make the gradient explode."""
    features = [feature | ({"scaling": "none"} if feature["kind"] == "number" else {}) for feature in FEATURES]
    return pipeline(features=features)


@pytest.mark.parametrize("places", [[5], [0], [0, 31], [8, 9, 10, 11]])
def test_a_sample_whose_gradient_explodes_is_set_aside_alone_and_the_others_learn(places: list[int]) -> None:
    def run() -> tuple[Learned, dict[str, Any], dict[str, Any]]:
        trainer = make_trainer(unscaled())
        trainer.train(batch([message(number) for number in range(100, 132)]))
        trainer.metrics.take()
        bodies: list[bytes | None] = [message(number, user=f"own-{number}") for number in range(32)]
        for place in places:
            bodies[place] = message(place, user=f"own-{place}", age=1e12, weight=1e6, label_click=0)
        learned = trainer.train(batch(bodies, 32))
        return learned, state_of(trainer), trainer.metrics.take()

    learned, state, metrics = run()
    assert [(each.index, each.reason) for each in learned.rejected] == [
        (place, "its gradient is too large") for place in places
    ]
    assert (learned.trained, learned.exploded) == (32 - len(places), False)
    assert sum(bucket["samples"] for bucket in metrics.values()) == learned.trained
    assert all(np.isfinite(array).all() for array in state.values())
    # Every user of the batch is its own, so that a row that was counted belongs to a sample that was learned.
    counted = dict(zip(state["rows/user/keys"].tolist(), state["rows/user/frequency"].tolist(), strict=True))
    users = pa.array([f"own-{number}" for number in range(32)])
    keys = ids_of(users)[0].tolist()
    assert [counted.get(key, 0) for key in keys] == [0 if number in places else 1 for number in range(32)]
    again = run()
    assert unchanged(state, again[1]) and metrics == again[2]


def test_a_model_that_fails_with_most_samples_is_said_to_be_broken() -> None:
    trainer = make_trainer()
    trainer.step.load({name: np.full_like(value, 1e20) for name, value in trainer.step.dense().items()})
    learned = trainer.train(batch([message(number, label_click=int(number == 3)) for number in range(8)]))
    # Its prediction is 1 whatever it is asked, so that a single one was right.
    assert (learned.trained, learned.exploded, len(learned.rejected)) == (1, True, 7)


def test_a_sample_alone_that_explodes_is_set_aside_and_leaves_the_figures_alone() -> None:
    trainer = make_trainer(unscaled())
    learned = trainer.train(batch([message(1, age=1e12, weight=1e6, label_click=0)]))
    assert (learned.trained, learned.exploded, len(learned.rejected)) == (0, True, 1)
    assert trainer.metrics.take() == {}


def test_a_broken_model_costs_a_bounded_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learner.trainer.MOST_EXPLOSIONS", 8)
    trainer = make_trainer()
    trainer.step.load({name: np.full_like(value, 1e20) for name, value in trainer.step.dense().items()})
    steps = 0
    original = TrainingStep.__call__

    def counted(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        return original(*arguments)

    monkeypatch.setattr(TrainingStep, "__call__", counted)
    learned = trainer.train(batch([message(number, label_click=0) for number in range(64)]))
    assert learned.exploded and [each.index for each in learned.rejected] == list(range(64))
    assert steps <= 8 + 7


def test_a_date_in_the_future_moves_neither_the_window_nor_last_seen() -> None:
    trainer = make_trainer()
    far = iso(NOW + 10**10)
    learned = trainer.train(batch([message(1), message(2, known_ts=far, impression_ts=far)]))
    assert learned.trained == 2 and int(learned.fresh.known_ms.max()) == NOW
    assert max(trainer.tables.export("item").last_seen.tolist()) == NOW
    assert trainer.train(batch([message(1)], 2)).duplicates == 1


def test_the_same_batches_give_the_same_bits_for_any_number_of_kernel_threads() -> None:
    def run(threads: int) -> dict[str, Any]:
        trainer = make_trainer(kernel_threads=threads)
        for begin in range(0, 300, 30):
            trainer.train(batch([message(number) for number in range(begin, begin + 30)], begin))
        return state_of(trainer)

    assert unchanged(run(1), run(3))


def test_other_batch_boundaries_are_another_training() -> None:
    """Why manifests list the batches: a replay by positions alone would not end in the same bits."""
    one, other = make_trainer(), make_trainer()
    bodies: list[bytes | None] = [message(number) for number in range(60)]
    one.train(batch(bodies))
    for begin in range(0, 60, 20):
        other.train(batch(bodies[begin : begin + 20], begin))
    assert not unchanged(state_of(one), state_of(other))


@pytest.mark.parametrize("kind", OPTIMIZER_KINDS)
def test_a_row_and_a_dense_weight_learn_by_one_rule(kind: Any) -> None:
    """The same settings mean the same for both: one rule, the same bits."""
    constants = {"kind": kind, "learning_rate": 0.1, "epsilon": 0.01}
    table = TableSettings("t", 4, optimizer=OptimizerSettings(**constants))
    tables = EmbeddingTables([table], [ColumnSettings("t", "t", "sum")], numbers=0, max_batch=4)
    one_row = EncodedBatch(1, (np.array([7], np.int64),), (None,), np.zeros((1, 0), np.float32))
    tables.prepare(one_row)
    tables.lookup()
    variable = tf.Variable(tables.buffer[0, :4].copy())
    rule = build_optimizer([variable], spec.Optimizer(**constants))
    for gradient in np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32):
        padded = np.zeros((1, tables.stride), np.float32)
        padded[0, :4] = gradient
        tables.prepare(one_row)
        tables.lookup()
        tables.apply(padded, 0)
        rule.apply(variable.numpy(), gradient)
        np.testing.assert_array_equal(tables.export("t").values[0], variable.numpy())
