"""What each process of a replica makes its own parts of; must be picklable, and knows no process."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infra.clock import Clock
from infra.object_store import ObjectStore
from infra.spec import Pipeline
from kernels.features import FeatureEncoder
from kernels.tables import EmbeddingTables


@dataclass(frozen=True)
class Parts:
    """One replica, as its processes are told of it.

    Attributes:
        pipeline: The model's spec.
        name: Of the replica, as it stands in its status.
        encoder: Makes what turns columns into ids and numbers, as it does for the learner.
        tables: Makes empty tables for an encoder's features that are not trainable.
        store: Opens the store where the model's versions are.
        clock: Passes and tells the time.
    """

    pipeline: Pipeline
    name: str
    encoder: Callable[[], FeatureEncoder]
    tables: Callable[[FeatureEncoder], EmbeddingTables]
    store: Callable[[], ObjectStore]
    clock: Clock
