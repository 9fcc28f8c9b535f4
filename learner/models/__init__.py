"""The built-in models by name; must not know who trains or serves them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from infra import spec
from infra.errors import Invalid
from learner.models.deepfm import DeepFactorizationMachine
from learner.models.layout import IdBlock, Layout
from learner.models.lr import LogisticRegression

__all__ = ["IdBlock", "Layout", "build_model"]

_MODELS: dict[str, Callable[[Layout, int, spec.Model, int], Any]] = {
    "lr": lambda layout, labels, settings, seed: LogisticRegression(layout, labels),
    "deepfm": lambda layout, labels, settings, seed: DeepFactorizationMachine(layout, labels, settings.hidden, seed),
}


def build_model(name: str, layout: Layout, labels: int, settings: spec.Model, seed: int) -> Any:
    """A Keras model from the one input ``[B, stride]`` to logits ``[B, labels]``, its weights created.

    Args:
        name: A built-in model's name.
        layout: The columns of the input.
        labels: How many labels are predicted.
        settings: The model's part of the spec.
        seed: The same seed gives the same initial weights in every process.

    Raises:
        Invalid: No such model, or one that does not fit the tables.
    """
    build = _MODELS.get(name)
    if build is None:
        raise Invalid(f"model.name: no model `{name}`", wanted=f"one of {', '.join(_MODELS)}")
    model = build(layout, labels, settings, seed)
    model.build((None, layout.stride))
    return model
