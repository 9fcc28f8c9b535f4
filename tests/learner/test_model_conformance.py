"""What every model keeps, built in or the user's own: it learns, is served as it predicts, and goes on bit for bit."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from infra import spec
from learner.export import digest, export_graph
from learner.models import BUILT_IN, IdBlock, Layout, build_model
from learner.step import TrainingStep
from learner.table_state import restore_table_state, table_state
from learner.trainer import Trainer, state_of
from serving.dense_program import DenseGraph
from tests.learner.aligned import aligned
from tests.learner.messages import PIPELINE, batch, message, pipeline
from tests.learner.training import make_trainer

OWN = "docs.example_model:build"
# The rule of the paper that the model comes from.
FTRL = {"optimizer": {"kind": "ftrl", "learning_rate": 0.1, "l1": 0.01}}
SETTINGS: dict[str, dict[str, Any]] = {
    "lr": FTRL,
    "wdl": {"hidden": [8]},
    "deepfm": {"hidden": [8]},
    "dcnv2": {"hidden": [8], "cross_rank": 4},
    "din": {"hidden": [8], "attention": [4], "candidate": "item", "history": "genres"},
    "dlrm": {"hidden": [8], "bottom": [4]},
    "mmoe": {"hidden": [8], "experts": 2, "tower": [16]},
    OWN: {"settings": {"user": "user", "item": "item", "width": 8}},
}
SEQUENCE = {"combiner": "none", "length": 2}
NARROW = Layout(stride=16, ids=(IdBlock("user", 0, 1), IdBlock("item", 1, 1)), numbers_offset=2, numbers=3)
LAYOUT = Layout(stride=16, ids=(IdBlock("user", 0, 4), IdBlock("item", 4, 4)), numbers_offset=8, numbers=2)

ATTENTIVE = Layout(
    stride=32, ids=(IdBlock("item", 0, 4), IdBlock("genres", 4, 2 * 4 + 1, 2)), numbers_offset=13, numbers=2
)
LAYOUTS = {"lr": NARROW, "din": ATTENTIVE}


def settings_of(name: str) -> spec.Pipeline:
    dim = 1 if name == "lr" else 8
    # Products of two small numbers are tiny, and so are their gradients: dot products alone want larger first rows.
    special: dict[str, dict[str, Any]] = {"dlrm": {"initializer": {"scale": 0.1}}, "lr": FTRL}
    first = special.get(name, {})
    tables = [{"name": table, "dim": dim} | first for table in ("user", "item", "genre")]
    changes: dict[str, Any] = {}
    if name == "din":
        features = {feature["name"]: feature for feature in PIPELINE["features"]}
        changes["features"] = [*(features | {"genres": features["genres"] | SEQUENCE}).values()]
    return pipeline(model={"name": name} | SETTINGS[name], tables=tables, **changes)


def learn(trainer: Trainer, begin: int, end: int) -> None:
    """Learns the samples from ``begin`` to ``end``, 64 at a time."""
    for first in range(begin, end, 64):
        trainer.train(batch([message(number) for number in range(first, min(first + 64, end))], first))


@dataclass
class Case:
    """A model that has learned 3,200 samples, and its log loss on the first and the last of them."""

    name: str
    trainer: Trainer
    early: float
    late: float


def log_loss(trainer: Trainer) -> float:
    buckets = trainer.metrics.take().values()
    return float(sum(each["log_loss_sum"] for each in buckets) / sum(each["samples"] for each in buckets))


def test_every_model_is_here() -> None:
    assert set(SETTINGS) == {*BUILT_IN, OWN}


@pytest.fixture(scope="module", params=sorted(SETTINGS))
def case(request: pytest.FixtureRequest) -> Case:
    trainer = make_trainer(settings_of(request.param))
    learn(trainer, 0, 64)
    early = log_loss(trainer)
    learn(trainer, 64, 2_560)
    trainer.metrics.take()
    learn(trainer, 2_560, 3_200)
    return Case(request.param, trainer, early, log_loss(trainer))


def test_it_learns_what_the_stream_teaches(case: Case) -> None:
    assert case.late < 0.67 < case.early


def test_a_replica_answers_what_the_learner_predicts(case: Case) -> None:
    trainer = case.trainer
    content = export_graph(trainer.step.model, trainer.tables.stride)
    program = DenseGraph(content, digest(content)).bind(trainer.step.dense())  # type: ignore[arg-type]
    rows = aligned(trainer.tables.buffer[:40])
    labels = np.full((40, 1), np.nan, np.float32)
    learned = trainer.step(rows.copy() if rows.ctypes.data % 64 else rows, labels, np.ones(40, np.float32))
    np.testing.assert_allclose(program.predict(rows), learned.predictions, rtol=1e-5, atol=1e-6)


def test_restored_it_goes_on_bit_for_bit(case: Case) -> None:
    one, settings = case.trainer, settings_of(case.name)
    other = make_trainer(settings)
    other.step.load(one.step.dense())
    other.step.load_own(one.step.own_state())
    other.statistics = type(one.statistics).from_state(one.encoder.features, one.statistics.state())
    for table in one.tables.tables:
        other.tables.import_rows(one.tables.export(table.name))
    restore_table_state(other.tables, table_state(one.tables))
    other.window.import_increment(one.window.export())
    for trainer in (one, other):
        learn(trainer, 3_200, 3_328)
    mine, theirs = state_of(one), state_of(other)
    assert list(mine) == list(theirs)
    for name, array in mine.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_seed_and_layout_alone_decide_first_weights_and_program(name: str) -> None:
    layout = LAYOUTS.get(name, LAYOUT)

    def build(seed: int) -> Any:
        return build_model(name, layout, 1, settings_of(name).model, seed)

    def weights(model: Any) -> list[bytes]:
        return [weight.numpy().tobytes() for weight in model.weights]

    one, same, other = build(5), build(5), build(6)
    assert weights(one) == weights(same)
    assert name == "lr" or weights(one) != weights(other)
    assert export_graph(one, layout.stride) == export_graph(same, layout.stride)


@pytest.mark.parametrize("name", sorted({*BUILT_IN, OWN} - {"deepfm", "lr"}))
def test_with_two_labels_a_null_one_teaches_nothing(name: str) -> None:
    # Wide enough that no sample meets dead units only.
    wide = {} if name == OWN else {"hidden": [32]}
    settings = spec.Model.model_validate({"name": name} | SETTINGS[name] | wide)
    layout = LAYOUTS.get(name, LAYOUT)
    step = TrainingStep(build_model(name, layout, 2, settings, seed=1), layout.stride, 2, spec.Optimizer())
    x = aligned(np.random.default_rng(0).normal(size=(6, layout.stride)))
    x[:, layout.numbers_offset + layout.numbers :] = 0
    y = np.array([[1, 0], [0, 1], [np.nan, 1], [1, np.nan], [np.nan, np.nan], [0, 0]], np.float32)
    before = step.dense()
    nothing = step(x, np.full_like(y, np.nan), np.ones(6, np.float32))
    assert not nothing.gradient.any() and not nothing.losses.any()
    assert all(np.array_equal(before[name], value) for name, value in step.dense().items())
    result = step(x, y, np.ones(6, np.float32))
    assert result.predictions.shape == (6, 2) and np.isfinite(result.predictions).all()
    np.testing.assert_array_equal(result.losses == 0, np.isnan(y))
    assert not result.gradient[4].any()
    assert all(result.gradient[row].any() for row in (0, 1, 2, 3, 5))
