"""A changed pipeline goes on from what was learned: each rule of a plan is what the learner does with real versions."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from infra import spec
from infra.errors import Invalid
from infra.feature_spec import feature_spec_hash, state_outline
from infra.object_store import ObjectStore, open_store
from learner.change import Change, Rule, change
from learner.trainer import Trainer, state_of
from tests.learner.live_model import (
    commit,
    learned,
    predictions,
    rows_of,
    taken_over,
    teach,
)
from tests.learner.messages import PIPELINE, features, tables
from tests.learner.messages import pipeline as changed
from tests.learner.state import restored
from tests.learner.training import make_trainer

OLD = changed()


@pytest.fixture(scope="module")
def store() -> ObjectStore:
    """Holds a model of :data:`OLD` that has learned."""
    store = open_store(spec.Store(url="memory://migration"))
    learned(OLD, store)
    return store


@pytest.fixture(scope="module")
def before(store: ObjectStore) -> Trainer:
    """That model."""
    return restored(make_trainer(OLD), OLD, store, 4)


def plan(new: spec.Pipeline, old: spec.Pipeline = OLD) -> Change:
    return change(state_outline(old), state_outline(new))


def rules(new: spec.Pipeline, old: spec.Pipeline = OLD) -> dict[str, Rule]:
    return {line.part: line.rule for line in plan(new, old).lines}


def assert_rows_kept(before: Trainer, after: Trainer, *names: str) -> None:
    for name in names:
        old, new = rows_of(before, name), rows_of(after, name)
        assert old and old.keys() == new.keys()
        for key, (values, slots, frequency) in old.items():
            np.testing.assert_array_equal(values, new[key][0])
            np.testing.assert_array_equal(slots, new[key][1])
            assert frequency == new[key][2]


def test_what_no_state_is_made_of_is_no_change(store: ObjectStore, before: Trainer) -> None:
    new = changed(learner=PIPELINE["learner"] | {"commit_interval": "2s"}, tables=tables(item={"admission": {}}))
    assert plan(new).lines == ()
    after, _ = taken_over(new, store)
    assert {name: value.tobytes() for name, value in state_of(after).items()} == {
        name: value.tobytes() for name, value in state_of(before).items()
    }


def test_a_feature_that_is_added_begins_anew_and_all_else_goes_on(store: ObjectStore, before: Trainer) -> None:
    cross = {"kind": "cross", "name": "taste", "sources": ["user", "genres"], "table": "taste"}
    new = changed(features=[cross, *PIPELINE["features"]], tables=[*PIPELINE["tables"], {"name": "taste", "dim": 8}])
    assert rules(new) == {"feature `taste`": "fresh", "table `taste`": "fresh", "dense weights": "widened"}
    after, _ = taken_over(new, store)
    assert_rows_kept(before, after, "user", "item", "genre")
    assert after.tables.row_count("taste") == 0
    # Rows of ids that nothing is known about are small, and so is what they change.
    np.testing.assert_allclose(predictions(after), predictions(before), atol=0.1)
    kernel, was = after.step.dense()["hidden_0/kernel"], before.step.dense()["hidden_0/kernel"]
    np.testing.assert_array_equal(kernel[8:33], was[:25])
    np.testing.assert_array_equal(kernel[:8], make_trainer(new).step.dense()["hidden_0/kernel"][:8])
    for state in (before, after):
        assert state.step.own_state()["step"] == 4
    slots = before.step.own_state()["slots_2"].reshape(was.shape)
    np.testing.assert_array_equal(after.step.own_state()["slots_2"].reshape(kernel.shape)[8:33], slots[:25])
    teach(after, 256, 64)


def test_a_number_that_is_added_changes_no_prediction_and_no_statistic(store: ObjectStore, before: Trainer) -> None:
    impressions = PIPELINE["events"]["impressions"]
    fields = [*impressions["fields"], {"name": "price", "type": "number"}]
    price = {"kind": "number", "name": "price", "source": "price", "scaling": "standard"}
    new = changed(
        events=PIPELINE["events"] | {"impressions": impressions | {"fields": fields}},
        features=[*PIPELINE["features"][:3], price, PIPELINE["features"][3]],
    )
    assert rules(new) == {"feature `price`": "fresh", "dense weights": "widened"}
    after, _ = taken_over(new, store)
    np.testing.assert_allclose(predictions(after), predictions(before), atol=1e-5)
    for name, value in before.statistics.state().items():
        np.testing.assert_array_equal(after.statistics.state()[name], [0, *value])


def test_features_in_another_order_predict_what_they_did(store: ObjectStore, before: Trainer) -> None:
    new = changed(features=PIPELINE["features"][::-1])
    assert rules(new) == {"dense weights": "widened"}
    after, _ = taken_over(new, store)
    assert_rows_kept(before, after, "user", "item", "genre")
    np.testing.assert_allclose(predictions(after), predictions(before), atol=1e-5)


def test_a_feature_and_a_table_that_are_dropped_end(store: ObjectStore, before: Trainer) -> None:
    new = changed(features=PIPELINE["features"][:2] + PIPELINE["features"][3:], tables=PIPELINE["tables"][:2])
    assert rules(new) == {"feature `genres`": "dropped", "table `genre`": "dropped", "dense weights": "widened"}
    after, _ = taken_over(new, store)
    assert_rows_kept(before, after, "user", "item")
    assert [table.name for table in after.tables.tables] == ["user", "item"]


def test_larger_dims_keep_what_is_known(store: ObjectStore, before: Trainer) -> None:
    new = changed(tables=[table | {"dim": 12} for table in PIPELINE["tables"]])
    assert rules(new) == {f"table `{name}`": "widened" for name in ("user", "item", "genre")} | {
        "dense weights": "widened"
    }
    after, _ = taken_over(new, store)
    fresh = make_trainer(new)
    teach(fresh, 0, 64)  # ids have their first values until they are learned
    for name in ("user", "item", "genre"):
        old, rows = rows_of(before, name), rows_of(after, name)
        assert old.keys() == rows.keys()
        for key, (values, slots, frequency) in old.items():
            np.testing.assert_array_equal(rows[key][0][:8], values)
            assert np.all(np.abs(rows[key][0][8:]) < 0.06) and np.any(rows[key][0][8:])
            np.testing.assert_array_equal(rows[key][1][:8], slots)
            np.testing.assert_array_equal(rows[key][1][8:], np.float32(0.1))
            assert rows[key][2] == frequency
    np.testing.assert_allclose(predictions(after), predictions(before), atol=0.1)


def test_smaller_dims_begin_anew(store: ObjectStore) -> None:
    new = changed(tables=[table | {"dim": 4} for table in PIPELINE["tables"]])
    assert rules(new)["table `user`"] == "fresh"
    after, _ = taken_over(new, store)
    assert [after.tables.row_count(name) for name in ("user", "item", "genre")] == [0, 0, 0]
    assert len(after.window)  # what was learned is known, and no sample counts twice


LONG = ("sgd", "rowwise_adagrad", "group_adam", "adagrad_decay")


@pytest.mark.parametrize("kind", ["adam", "ftrl", *(pytest.param(kind, marks=pytest.mark.long) for kind in LONG)])
def test_another_optimizer_keeps_the_values(store: ObjectStore, before: Trainer, kind: str) -> None:
    model = PIPELINE["model"] | {"optimizer": {"kind": kind}}
    new = changed(tables=tables(item={"optimizer": {"kind": kind}}), model=model)
    assert rules(new) == {"table `item`": "fresh", "dense optimizer": "fresh"}
    after, _ = taken_over(new, store)
    assert_rows_kept(before, after, "user", "genre")
    old, rows = rows_of(before, "item"), rows_of(after, "item")
    width = after.tables.slot_width("item")
    for key, (values, _, frequency) in old.items():
        np.testing.assert_array_equal(rows[key][0], values)
        assert rows[key][1].shape == (width,) and rows[key][2] == frequency
        if kind == "rowwise_adagrad":
            np.testing.assert_array_equal(rows[key][1], np.float32(0.1))
    np.testing.assert_array_equal(predictions(after), predictions(before))
    teach(after, 256, 64)
    # A rule whose state did not fit its values would throw them away at the first step.
    np.testing.assert_allclose(predictions(after), predictions(before), atol=2.0)


def test_rows_begin_to_leave_by_steps_from_now_on(store: ObjectStore, before: Trainer) -> None:
    new = changed(tables=tables(user={"eviction": {"step_ttl": 3}}))
    assert rules(new) == {"table `user`": "kept"}
    after, _ = taken_over(new, store)
    assert rows_of(before, "user").keys() == rows_of(after, "user").keys()
    teach(after, 256, 64)
    assert after.tables.row_count("user") == before.tables.row_count("user")


def test_another_admission_counts_anew(store: ObjectStore, before: Trainer) -> None:
    new = changed(tables=tables(item={"admission": {"kind": "counter", "occurrences": 3}}))
    assert rules(new) == {"table `item`": "fresh"}
    after, _ = taken_over(new, store)
    assert_rows_kept(before, after, "item")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"features": features(user={"vocabulary": ["u1", "u2"]})}, "table `user`"),
        ({"tables": tables(user={"ladder": [{"dim": 4, "until": 10}]})}, "table `user`"),
        ({"tables": tables(user={"multi_hash": {"quotients": 10, "remainders": 10}})}, "table `user`"),
    ],
)
def test_rows_that_would_not_be_found_again_begin_anew(store: ObjectStore, changes: Any, part: str) -> None:
    new = changed(**changes)
    assert rules(new)[part] == "fresh"
    after, _ = taken_over(new, store)
    assert sum(after.tables.row_count(table.name) for table in after.tables.tables if "user" in table.name) == 0
    assert after.tables.row_count("item")


def test_16_bits_and_another_combiner_keep_the_rows(store: ObjectStore, before: Trainer) -> None:
    new = changed(tables=tables(item={"precision": "bfloat16"}), features=features(genres={"combiner": "sum"}))
    assert rules(new) == {"feature `genres`": "kept", "table `item`": "kept"}
    after, _ = taken_over(new, store)
    assert_rows_kept(before, after, "user", "genre")
    for key, (values, _, _) in rows_of(before, "item").items():
        np.testing.assert_allclose(rows_of(after, "item")[key][0], values, rtol=0.01)


@pytest.mark.parametrize(
    "model",
    [
        {"name": "dcnv2", "hidden": [8]},
        {"name": "deepfm", "hidden": [16]},
        {"name": "dlrm", "hidden": [8], "bottom": [8]},
    ],
)
def test_another_model_begins_with_the_rows(store: ObjectStore, before: Trainer, model: Any) -> None:
    new = changed(model=model)
    assert rules(new) == {"dense weights": "fresh"}
    after, _ = taken_over(new, store)
    assert_rows_kept(before, after, "user", "item", "genre")
    first = make_trainer(new).step.dense()
    for name, value in after.step.dense().items():
        np.testing.assert_array_equal(value, first[name])


@pytest.mark.parametrize(
    "model",
    [
        pytest.param({"name": "wdl", "hidden": [8]}, marks=pytest.mark.long),
        {"name": "dcnv2", "hidden": [8]},
        pytest.param({"name": "dcnv2", "hidden": [8], "cross_rank": 3}, marks=pytest.mark.long),
        pytest.param({"name": "mmoe", "hidden": [8], "tower": [4], "experts": 2}, marks=pytest.mark.long),
        {"name": "deepfm", "hidden": [8], "loss": {"kind": "es_dfm"}},
    ],
)
def test_every_model_that_says_so_moves_its_columns(model: Any) -> None:
    old, new = changed(model=model), changed(model=model, features=PIPELINE["features"][::-1])
    store = open_store(spec.Store(url=f"memory://moves-{model['name']}-{len(str(model))}"))
    before = learned(old, store)
    after, _ = taken_over(new, store)
    np.testing.assert_allclose(predictions(after), predictions(before), atol=1e-4)
    # What is learned next is the same, too: their rules' state has moved along.
    teach(before, 256, 64)
    teach(after, 256, 64)
    np.testing.assert_allclose(predictions(after), predictions(before), atol=1e-3)


def test_a_model_that_does_not_say_begins_anew_where_columns_move() -> None:
    model = {"name": "dlrm", "hidden": [8], "bottom": [8]}
    old, new = changed(model=model), changed(model=model, features=PIPELINE["features"][::-1])
    assert rules(new, old) == {"dense weights": "fresh"}


def test_other_labels_are_refused(store: ObjectStore) -> None:
    feedback = [*PIPELINE["events"]["feedback"], {"name": "buy", "topic": "buys", "key": "id", "time": "at"}]
    new = changed(events=PIPELINE["events"] | {"feedback": feedback}, model={"name": "wdl"})
    assert rules(new)["labels"] == "refused"
    with pytest.raises(Invalid, match="cannot go on from the versions that are there: labels: click to click, buy"):
        taken_over(new, store)


def test_a_version_that_begins_anew_needs_nothing_before_it(unique_name: Callable[[], str]) -> None:
    store = open_store(spec.Store(url=f"memory://{unique_name()}"))
    learned(OLD, store)
    new = changed(tables=tables(user={"dim": 12}, item={"dim": 12}, genre={"dim": 12}))
    after, _ = taken_over(new, store)
    wanted = state_of(after)
    window = np.ascontiguousarray(after.window.export())
    version = commit(after, new, store, kind="revert", base_ref=0)
    again = state_of(restored(make_trainer(new), new, store, version))
    assert window.size
    for name, value in wanted.items():
        if name != "window":
            np.testing.assert_array_equal(value, again[name], err_msg=name)


@pytest.fixture
def unique_name() -> Callable[[], str]:
    """A name for a store."""
    names = iter(range(1000))
    return lambda: f"migration-{next(names)}"


def test_the_gate_compares_with_what_was_taken_over(store: ObjectStore) -> None:
    new = changed(tables=[table | {"dim": 12} for table in PIPELINE["tables"]])
    after, gate = taken_over(new, store, scores=True)
    assert gate.of_taken_over.servable and gate.reference is not None
    assert gate.judge(after.tables.capture(), after.step.dense(), True).servable


def test_every_difference_that_a_digest_sees_has_a_line_or_moves_nothing() -> None:
    # What no rule knows of would be taken over in silence.
    for new in (
        changed(tables=tables(item={"initializer": {"kind": "uniform"}})),
        changed(learner=PIPELINE["learner"] | {"seed": 2}),
        changed(model=PIPELINE["model"] | {"loss": {"kind": "weighted", "positive_weight": 2}}),
        changed(features=features(age={"scaling": "log"})),
    ):
        assert feature_spec_hash(new) != feature_spec_hash(OLD)
        assert plan(new).lines
