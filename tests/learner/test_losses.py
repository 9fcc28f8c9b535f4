"""The losses against their formulas in float64, their gradients, and on a stream whose feedback is late."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infra import spec
from infra.spec_part import LocatedErrors
from learner.losses import ElapsedTimeSampling, Targets, build_loss
from learner.models import Layout, build_model
from learner.step import TrainingStep
from learner.tensorflow_setup import tf
from tests.learner.aligned import aligned
from tests.learner.delayed import STREAMS, calibration, log_loss, served, train
from tests.learner.messages import PIPELINE, pipeline

KINDS = ["log_loss", "weighted", "fnw", "fnc", "es_dfm"]


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def settings_of(kind: str, **more: Any) -> spec.Loss:
    return spec.Loss.model_validate({"kind": kind} | ({"positive_weight": 3.0} if kind == "weighted" else {}) | more)


def example(rows: int = 7, labels: int = 2) -> dict[str, Any]:
    generator = np.random.default_rng(5)
    truth = generator.integers(0, 2, (rows, labels)).astype(np.float64)
    known = generator.random((rows, labels)) < 0.7
    return {
        "logits": generator.normal(size=(rows, labels)),
        "inputs": generator.normal(size=(rows, 4)),
        "truth": np.where(known, truth, 0),
        "known": known,
        "log_rate": np.log(generator.uniform(0.1, 1, (rows, 1))),
        "late": (generator.random((rows, 1)) < 0.4).astype(np.float64),
        "weights": generator.uniform(0.5, 2, (rows, 1)),
    }


def heads(loss: Any, x: dict[str, Any]) -> tuple[Any, Any]:
    values = {name: np.asarray(variable.numpy(), np.float64) for name, variable in loss.variables.items()}
    late = x["inputs"] @ values["late_kernel"] + values["late_bias"]
    turned = x["inputs"] @ values["turned_kernel"] + values["turned_bias"]
    return late, turned


def reference(kind: str, down_sampling: str, loss: Any, x: dict[str, Any], constants: Any = None) -> float:
    """The loss by its formula; a and b are taken at ``constants``, the logits at which they are held."""
    p = sigmoid(x["logits"] if constants is None else constants)
    z, a, b, own = x["logits"], np.ones_like(p), np.ones_like(p), 0.0
    if kind == "weighted":
        z, a = z + np.log(3.0), np.full_like(p, 3.0)
    if kind == "fnw":
        a, b = 1 + p, (1 - p) * (1 + p)
    inverse = np.exp(-x["log_rate"])
    if kind == "es_dfm":
        late, turned = heads(loss, x)
        p_dp, p_rn = np.minimum(np.exp(late), 1), 1 - np.minimum(np.exp(turned), 1)
        a, b = 1 + p_dp, (1 + p_dp) * p_rn
        y = x["late"] * np.ones_like(p)
        count = x["weights"] * np.where(x["truth"] > 0, 1, inverse)
        for h, counted in ((late, x["known"]), (turned, x["known"] & ((x["truth"] == 0) | (y > 0)))):
            q = sigmoid(h)
            own -= float((count * (y * np.log(q) + (1 - y) * np.log(1 - q)))[counted].sum())
    if down_sampling == "log_odds":
        z = z - x["log_rate"]
    else:
        b = b * inverse
    q = sigmoid(z)
    each = x["weights"] * (x["truth"] * a * -np.log(q) + (1 - x["truth"]) * b * -np.log(1 - q))
    return float(each[x["known"]].sum()) + own


def computed(loss: Any, x: dict[str, Any]) -> tuple[float, Any]:
    tensors = {name: tf.constant(value, tf.bool if name == "known" else tf.float32) for name, value in x.items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors["logits"])
        targets = Targets(*(tensors[name] for name in ("truth", "known", "log_rate", "late")))
        total = loss.total(tensors["logits"], tensors["inputs"], targets, tensors["weights"])
    return float(total), tape.gradient(total, tensors["logits"]).numpy()


@pytest.mark.parametrize("down_sampling", ["weight", "log_odds"])
@pytest.mark.parametrize("kind", KINDS)
def test_value_and_gradient_are_the_formulas(kind: str, down_sampling: str) -> None:
    x = example()
    loss = build_loss(settings_of(kind, down_sampling=down_sampling), stride=4, labels=2)
    generator = np.random.default_rng(9)
    for name, variable in loss.variables.items():
        shift = -2.0 if name.endswith("bias") else 0.0
        variable.assign(generator.normal(scale=0.3, size=variable.shape) + shift)
    value, gradient = computed(loss, x)
    assert value == pytest.approx(reference(kind, down_sampling, loss, x), rel=1e-5)
    assert not gradient[~x["known"]].any()
    wanted = np.zeros_like(x["logits"])
    for place in np.ndindex(*wanted.shape):
        moved = [x["logits"].copy(), x["logits"].copy()]
        moved[0][place] += 1e-6
        moved[1][place] -= 1e-6
        high, low = (reference(kind, down_sampling, loss, x | {"logits": z}, x["logits"]) for z in moved)
        wanted[place] = (high - low) / 2e-6
    np.testing.assert_allclose(gradient, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_served_and_what_the_stream_should_show(kind: str) -> None:
    x = example()
    loss = build_loss(settings_of(kind), stride=4, labels=2)
    logits, inputs = tf.constant(x["logits"], tf.float32), tf.constant(x["inputs"], tf.float32)
    p = sigmoid(x["logits"])
    b = {"fnw": p / (1 + p), "es_dfm": p / (1 + np.exp(-3.0))}.get(kind, p)
    np.testing.assert_allclose(tf.sigmoid(loss.stream_logits(logits, inputs)).numpy(), b, rtol=1e-4)
    wanted = np.minimum(p / (1 - p), 1) if kind == "fnc" else p
    np.testing.assert_allclose(loss.serve(logits).numpy(), wanted, rtol=1e-4)


def test_a_restored_loss_goes_on_bit_for_bit_and_another_is_refused() -> None:
    def fresh(kind: str) -> TrainingStep:
        layout = Layout(16, (), 0, 2)
        model = build_model("lr", layout, 1, spec.Model(name="lr"), 1)
        return TrainingStep(model, 16, 1, spec.Optimizer(kind="adam"), spec.Loss(kind=kind))

    generator = np.random.default_rng(1)
    x = aligned(generator.normal(size=(8, 16)))
    y = generator.integers(0, 2, (8, 1)).astype(np.float32)
    late, ones = y[:, 0] > 0, np.ones(8, np.float32)
    one, other = fresh("es_dfm"), fresh("es_dfm")
    one(x, y, ones, None, late)
    other.load(one.dense())
    other.load_own(one.own_state())
    for step in (one, other):
        step(x, y, ones, None, late)
    mine, theirs = one.own_state(), other.own_state()
    assert list(mine) == list(theirs) and any(name.startswith("loss/") for name in mine)
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name])
    assert set(one.dense()) == {"bias", "numbers_kernel"}
    with pytest.raises(ValueError, match="variables of the loss"):
        fresh("log_loss").load_own(mine)


@pytest.mark.parametrize("kind", ["fnw", "fnc", "es_dfm"])
def test_on_a_delayed_stream_it_is_calibrated_where_the_naive_one_is_not(kind: str) -> None:
    """The naive loss learns from every negative that is only too early; the true rate is about one in four."""
    stream = STREAMS["early" if kind == "es_dfm" else "immediate"](20_000, seed=3)
    naive, loss = (served(train(spec.Loss(kind=each), stream), stream) for each in ("log_loss", kind))
    assert 2 * abs(calibration(loss, stream) - 1) < abs(calibration(naive, stream) - 1)
    # An odds as a logit's exponential is no logistic law: what fnc gains in level it may lose in shape (docs/LOG.md).
    assert kind == "fnc" or log_loss(loss, stream) < log_loss(naive, stream)


@pytest.mark.parametrize("down_sampling", ["weight", "log_odds"])
def test_thinned_negatives_leave_the_predictions_calibrated(down_sampling: Any) -> None:
    stream = STREAMS["thinned"](20_000, seed=4)
    step = train(spec.Loss(down_sampling=down_sampling), stream)
    assert calibration(served(step, stream), stream) == pytest.approx(1, abs=0.06)


def test_weighted_positives_leave_the_predictions_calibrated() -> None:
    stream = STREAMS["complete"](20_000, seed=5)
    step = train(spec.Loss(kind="weighted", positive_weight=5), stream)
    assert calibration(served(step, stream), stream) == pytest.approx(1, abs=0.06)


def test_a_loss_that_expects_another_stream_is_refused() -> None:
    def model(kind: str) -> Any:
        return PIPELINE["model"] | {"loss": {"kind": kind}}

    with pytest.raises(ValueError, match=r"model\.loss\.kind: fnw expects .*join.labels: immediate") as caught:
        pipeline(model=model("fnw"))
    assert isinstance(caught.value.errors()[0]["ctx"]["error"], LocatedErrors)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="es_dfm expects a window"):
        pipeline(model=model("es_dfm"), join={"labels": "immediate"})
    assert pipeline(model=model("fnc"), join={"labels": "immediate"}).model.loss.kind == "fnc"
    with pytest.raises(ValueError, match=r"positive_weight.*unused while `kind` is log_loss"):
        spec.Loss(positive_weight=2)


def test_heads_never_teach_the_rows() -> None:
    loss = build_loss(settings_of("es_dfm"), stride=4, labels=2)
    assert isinstance(loss, ElapsedTimeSampling)
    x = example()
    inputs = tf.constant(x["inputs"], tf.float32)
    targets = Targets(
        *(tf.constant(x[n], tf.bool if n == "known" else tf.float32) for n in ("truth", "known", "log_rate", "late"))
    )
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = loss.own(inputs, targets, tf.constant(x["weights"], tf.float32))
    assert tape.gradient(total, inputs) is None
