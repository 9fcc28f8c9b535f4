"""What gives a model's state its shape and meaning, as a digest and as an outline; knows the spec alone.

A learner writes both into every version. A restoring learner and a replica compare the digest with their own; where it
is another one, the outline tells a learner what became of the state (``learner/change.py``).
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
from typing import Any

from infra.spec import Optimizer, Pipeline, Table
from infra.spec_table import CONSTANT_RATE


def feature_spec_hash(pipeline: Pipeline) -> str:
    """Digest of all that gives a state its shape and meaning; most rules' learning rates are no part of it."""
    return _digest(_meaning(pipeline))


def state_outline(pipeline: Pipeline) -> dict[str, Any]:
    """The same as plain JSON, small enough for every manifest: digests stand for vocabularies and boundaries."""
    outline = _meaning(pipeline)
    for feature in outline["features"]:
        for name in ("vocabulary", "boundaries"):
            if feature.get(name):
                feature[name] = _digest(feature[name])[:16]
    return outline


def _digest(meaning: Any) -> str:
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def _meaning(pipeline: Pipeline) -> dict[str, Any]:
    sources = {source for feature in pipeline.features for source in feature.sources}
    return {
        # `7` and `"7"` are different ids.
        "fields": {field.name: field.type for field in pipeline.events.impressions.fields if field.name in sources},
        "features": [feature.model_dump(mode="json") for feature in pipeline.features],
        "tables": [
            {
                "name": table.name,
                "dim": table.dim,
                "initializer": table.initializer.model_dump(mode="json"),
                **_rule(table.optimizer),
                **_shape(table),
            }
            for table in pipeline.tables
        ],
        "model": {
            **pipeline.model.model_dump(mode="json", exclude={"optimizer", "loss"}),
            "loss": pipeline.model.loss.kind,
            **_rule(pipeline.model.optimizer),
        },
        "labels": [feedback.name for feedback in pipeline.events.feedback],
        "seed": pipeline.learner.seed,
    }


def _rule(optimizer: Optimizer) -> dict[str, Any]:
    """What a rule's state means, with the rate where it is made of that."""
    if optimizer.kind in CONSTANT_RATE:
        return {"optimizer": optimizer.kind, "learning_rate": optimizer.learning_rate}
    return {"optimizer": optimizer.kind}


def _shape(table: Table) -> dict[str, Any]:
    """What else decides how rows and counts are kept, and what an unknown id reads as; nothing for a plain table."""
    shape: dict[str, Any] = {}
    if table.precision != "float32":
        shape["precision"] = table.precision
    if table.ladder:
        shape["ladder"] = [rung.model_dump(mode="json") for rung in table.ladder]
    if table.admission.kind != "always":
        shape["admission"] = {"kind": table.admission.kind, "not_admitted": table.admission.not_admitted}
    if table.admission.kind == "bloom":
        sizes = table.admission.model_dump(mode="json", include={"capacity", "false_positive", "period"})
        shape["admission"] = {**shape["admission"], **sizes}
    if table.eviction.step_ttl:
        shape["stamped"] = True
    for name, shared in (("adaptive", table.adaptive), ("multi_hash", table.multi_hash)):
        if shared is not None:
            shape[name] = shared.model_dump(mode="json")
    return shape
