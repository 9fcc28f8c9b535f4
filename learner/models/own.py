"""A Keras model of the user's own: finds it, builds it, holds it to the contract of docs/models.md; trains nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import difflib
import importlib
import traceback
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from infra.errors import Invalid
from learner.models.layout import Layout
from learner.models.weights import weight_names
from learner.tensorflow_setup import keras, tf

CONTRACT: Final = "see docs/models.md"
# Rows of the input that a model is tried with.
_TRIED: Final = 4
# Predictions of a sample alone and among others may differ by the order of sums, and by no more.
_TOLERANCE: Final = 1e-4


def build_own_model(name: str, layout: Layout, labels: int, settings: Mapping[str, Any], seed: int) -> Any:
    """Calls ``module:function`` and proves that the result is a model which can be trained, kept and served.

    Args:
        name: ``module:function``.
        layout: The columns of the input.
        labels: How many labels are predicted.
        settings: Passed to the function by name.
        seed: The spec's seed.

    Raises:
        Invalid: It cannot be imported, fails, or breaks the contract; the message says where and what to do.
    """
    where = f"model.name `{name}`"
    function = _found(name, where)

    def build() -> Any:
        try:
            model = function(layout, labels, seed, **settings)
        except Exception as error:
            raise _failed(error, where, "while it was built") from error
        if not isinstance(model, keras.Model):
            cure = f"return a model; {CONTRACT}"
            raise Invalid(f"it returned {_shown(model)}", wanted="a keras.Model", where=where, cure=cure)
        _try(model, layout, labels, where)
        return model

    model = build()
    _compare(model, build(), where)
    return model


def _compare(model: Any, again: Any, where: str) -> None:
    """A restarted process builds the model anew: the same weights by name and, before any sample, by value."""
    names, others = weight_names(model), weight_names(again)
    if names != others:
        odd = next((name for name in others if name not in names), others[-1] if others else "nothing")
        raise Invalid(
            f"built a second time, it has a weight `{odd}` that it had not before",
            wanted="the same names each time",
            cure="give each layer a `name` of its own: Keras numbers those without one",
            where=where,
        )
    for name, one, other in zip(names, model.weights, again.weights, strict=True):
        if not np.array_equal(one.numpy(), other.numpy()):
            raise Invalid(
                f"built a second time, its weight `{name}` begins with other values",
                wanted="first weights that `seed` alone decides",
                cure="give each initializer a seed, such as keras.initializers.GlorotUniform(seed)",
                where=where,
            )


def _found(name: str, where: str) -> Any:
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        own = module_name == missing or module_name.startswith(f"{missing}.")
        cure = "put the file beside the pipeline.yaml, install the package, or name its folder in PYTHONPATH"
        raise Invalid(
            f"no module `{missing}`" + ("" if own else f", which `{module_name}` imports"),
            where=where,
            cure=cure if own else f"install what `{module_name}` needs",
        ) from error
    except Exception as error:
        raise _failed(error, where, f"while `{module_name}` was imported") from error
    function = getattr(module, function_name, None)
    if function is None:
        near = difflib.get_close_matches(function_name, vars(module), n=1)
        raise Invalid(
            f"module `{module_name}` has no `{function_name}`",
            wanted=f"a function of that name{f'; nearest is `{near[0]}`' if near else ''}",
            where=where,
        )
    if not callable(function):
        raise Invalid(f"`{function_name}` is {_shown(function)}", wanted="a function", where=where)
    return function


def _try(model: Any, layout: Layout, labels: int, where: str) -> None:
    """Runs the model on a few rows: shapes, state and independence of samples."""
    rows = np.random.default_rng(0).normal(size=(_TRIED, layout.stride)).astype(np.float32)
    rows[:, layout.numbers_offset + layout.numbers :] = 0
    together = _logits(model, rows, labels, where)
    if not model.trainable_variables and not layout.ids:
        raise Invalid("the model has nothing to learn", wanted="a trainable weight or an id feature", where=where)
    weights = {id(weight) for weight in model.weights}
    hidden = [variable.path for variable in model.variables if id(variable) not in weights]
    if hidden:
        raise Invalid(
            f"the model keeps state that is no weight: {', '.join(hidden)}",
            wanted="weights only: versions hold nothing else, and a replay must end in the same bits",
            cure="leave out dropout and metrics; each sample is learned once, so that dropout gains little here",
            where=where,
        )
    try:
        weight_names(model)
    except ValueError as error:
        raise Invalid(str(error), cure="give each layer a `name` of its own", where=where) from error
    foreign = [weight.path for weight in model.weights if weight.dtype != "float32"]
    if foreign:
        raise Invalid(f"weight `{foreign[0]}` is not float32", wanted="float32", where=where)
    before = [np.array(weight.numpy()) for weight in model.non_trainable_variables]
    _logits(model, rows, labels, where, training=True)
    for weight, old in zip(model.non_trainable_variables, before, strict=True):
        if not np.array_equal(weight.numpy(), old):
            raise Invalid(
                f"weight `{weight.path}` changes while the model predicts",
                wanted="weights that change by their gradient alone",
                cure="use LayerNormalization instead of BatchNormalization",
                where=where,
            )
    alone = np.concatenate([_logits(model, rows[place : place + 1], labels, where) for place in range(_TRIED)])
    if not np.allclose(alone, together, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise Invalid(
            "a sample's prediction depends on the other samples of its batch",
            wanted="the same prediction alone and among others: batches follow the traffic",
            where=where,
        )


def _logits(model: Any, rows: Any, labels: int, where: str, *, training: bool = False) -> Any:
    try:
        logits = model(tf.constant(rows), training=training)
    except Exception as error:
        raise _failed(error, where, f"when it was called with float32 {list(rows.shape)}") from error
    wanted = f"one float32 tensor [batch, {labels}]: a logit for each label"
    if not isinstance(logits, tf.Tensor):
        several = isinstance(logits, (list, tuple, dict))
        raise Invalid(
            f"the model has {len(logits)} outputs" if several else f"the model returned {_shown(logits)}",
            wanted=wanted,
            cure="concatenate them, in the order of `events.feedback`" if several else "",
            where=where,
        )
    if logits.dtype != tf.float32 or tuple(logits.shape) != (len(rows), labels):
        raise Invalid(
            f"the model made {logits.dtype.name} {list(logits.shape)} of {len(rows)} rows", wanted=wanted, where=where
        )
    values = logits.numpy()
    if not np.isfinite(values).all():
        raise Invalid("the model's first predictions are not finite numbers", wanted="finite logits", where=where)
    return values


def _failed(error: Exception, where: str, when: str) -> Invalid:
    """The user's own error with the line of the user's own code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    at = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())[:500]
    return Invalid(f"{type(error).__name__} {when}: {text}{at}", where=where, cure=CONTRACT)


def _shown(value: Any) -> str:
    return f"a {type(value).__name__}"
