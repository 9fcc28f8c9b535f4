"""Which axes of a built-in model's weights are columns of its input; must not know values, nor why anybody asks."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

# The whole input, ``stride`` wide, or its number features alone.
Axis = Literal["input", "numbers"]

_Axes = Mapping[str, Mapping[int, Axis]]

_LINEAR: Final[_Axes] = {r"numbers_kernel": {0: "numbers"}}
_NETWORK: Final[_Axes] = {r"hidden_0/kernel": {0: "input"}}
_AXES: Final[Mapping[str, _Axes]] = MappingProxyType(
    {
        "lr": _LINEAR,
        "wdl": {**_LINEAR, **_NETWORK},
        "deepfm": {**_LINEAR, **_NETWORK},
        "dcnv2": {
            r"cross_\d+_kernel": {0: "input", 1: "input"},
            r"cross_\d+_reduce": {0: "input"},
            r"cross_\d+_expand": {1: "input"},
            r"cross_\d+_bias": {0: "input"},
            r"cross_output/kernel": {0: "input"},
            **_NETWORK,
        },
        "mmoe": {r"gates": {1: "input"}, r"expert_0_kernel": {1: "input"}},
    }
)


def axes_of(model: str, weight: str) -> Mapping[int, Axis]:
    """The axes of one weight that stand for columns; none for most weights.

    Args:
        model: A built-in model's name, one of :data:`learner.change.MOVABLE`.
        weight: The weight's name in versions.
    """
    for pattern, axes in _AXES[model].items():
        if re.fullmatch(pattern, weight):
            return axes
    return {}
