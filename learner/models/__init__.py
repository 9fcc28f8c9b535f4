"""The models by name, built in or the user's own; must not know who trains or serves them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from infra import spec
from infra.errors import Invalid
from infra.spec_model import is_own
from learner.models.dcnv2 import DeepAndCrossNetwork
from learner.models.deepfm import DeepFactorizationMachine
from learner.models.din import DeepInterestNetwork
from learner.models.dlrm import DotProducts
from learner.models.layout import IdBlock, Layout
from learner.models.lr import LogisticRegression
from learner.models.mmoe import MultiGateMixtureOfExperts
from learner.models.own import build_own_model
from learner.models.wdl import WideAndDeep

__all__ = ["BUILT_IN", "IdBlock", "Layout", "build_model"]

BUILT_IN: dict[str, Callable[[Layout, int, spec.Model, int], Any]] = {
    "lr": lambda layout, labels, settings, seed: LogisticRegression(layout, labels),
    "wdl": lambda layout, labels, settings, seed: WideAndDeep(layout, labels, settings.hidden, seed),
    "deepfm": lambda layout, labels, settings, seed: DeepFactorizationMachine(layout, labels, settings.hidden, seed),
    "dcnv2": lambda layout, labels, settings, seed: DeepAndCrossNetwork(
        layout, labels, settings.cross_layers, settings.cross_rank, settings.hidden, seed
    ),
    "din": lambda layout, labels, settings, seed: DeepInterestNetwork(
        layout, labels, settings.candidate, settings.history, settings.attention, settings.hidden, seed
    ),
    "dlrm": lambda layout, labels, settings, seed: DotProducts(layout, labels, settings.bottom, settings.hidden, seed),
    "mmoe": lambda layout, labels, settings, seed: MultiGateMixtureOfExperts(
        layout, labels, settings.experts, settings.hidden, settings.tower, seed
    ),
}


def build_model(name: str, layout: Layout, labels: int, settings: spec.Model, seed: int) -> Any:
    """A Keras model from the one input ``[B, stride]`` to logits ``[B, labels]``, its weights created.

    Args:
        name: A built-in model's name, or ``module:function``.
        layout: The columns of the input.
        labels: How many labels are predicted.
        settings: The model's part of the spec.
        seed: The same seed gives the same initial weights in every process.

    Raises:
        Invalid: No such model, one that does not fit the tables, or one of the user's own that breaks the contract.
    """
    if is_own(name):
        return build_own_model(name, layout, labels, settings.settings, seed)
    build = BUILT_IN.get(name)
    if build is None:
        raise Invalid(
            f"model.name: no model `{name}`", wanted=f"one of {', '.join(BUILT_IN)}, or `module:function` of your own"
        )
    model = build(layout, labels, settings, seed)
    model.build((None, layout.stride))
    return model
