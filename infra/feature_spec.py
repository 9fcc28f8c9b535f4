"""The digest that tells whether two processes mean the same features; knows the spec alone.

A learner writes it into every version, a restoring learner and a replica compare it with their own.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
from typing import Any

from infra.spec import Pipeline


def feature_spec_hash(pipeline: Pipeline) -> str:
    """Digest of all that gives a state its shape and meaning; learning rates may change, this must not."""
    sources = {feature.source for feature in pipeline.features}
    meaning: dict[str, Any] = {
        # `7` and `"7"` are different ids.
        "fields": {field.name: field.type for field in pipeline.events.impressions.fields if field.name in sources},
        "features": [feature.model_dump(mode="json") for feature in pipeline.features],
        "tables": [
            {
                "name": table.name,
                "dim": table.dim,
                "initializer": table.initializer.model_dump(mode="json"),
                "optimizer": table.optimizer.kind,
            }
            for table in pipeline.tables
        ],
        "model": {
            **pipeline.model.model_dump(mode="json", exclude={"optimizer"}),
            "optimizer": pipeline.model.optimizer.kind,
        },
        "labels": [feedback.name for feedback in pipeline.events.feedback],
        "seed": pipeline.learner.seed,
    }
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
