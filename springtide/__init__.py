"""The door: command line, wiring and demo; the only room that constructs everything."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learner.models.layout import Layout

# What a user's own model code needs (docs/models.md); imported when asked for, since it brings TensorFlow along.
__all__ = ["Layout"]


def __getattr__(name: str) -> Any:
    if name == "Layout":
        from learner.models.layout import Layout

        return Layout
    raise AttributeError(f"module `springtide` has no attribute `{name}`")
