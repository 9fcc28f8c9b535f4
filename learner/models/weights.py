"""What a model's weights are called in versions; must not know who reads them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any


def weight_names(model: Any) -> list[str]:
    """The names of all weights in the model's order, without the model's own name in front.

    Raises:
        ValueError: Two weights share a name.
    """
    names = [weight.path.removeprefix(f"{model.name}/") for weight in model.weights]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"two weights of the model share the name `{repeated[0]}`")
    return names
