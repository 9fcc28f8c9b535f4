"""The pipeline that the tests of this room change a little each; must not know a test."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from infra.spec import Pipeline

FIELDS: list[dict[str, str]] = [
    {"name": "item"},
    {"name": "place", "type": "integer"},
    {"name": "price", "type": "number"},
    {"name": "mobile", "type": "boolean"},
    {"name": "tags", "type": "list[string]"},
    {"name": "counts", "type": "list[integer]"},
]


def pipeline(name: str = "model", **parts: Any) -> Pipeline:
    """A pipeline with every type of field; ``parts`` replace whole parts of it, an `impressions` or `feedback` part
    single keys of theirs, and `more_feedback` is further kinds of it."""
    impressions = {"topic": f"{name}.impressions", "key": "id", "time": "ts", "weight": "w", "fields": FIELDS}
    feedback = {"name": "click", "topic": f"{name}.clicks", "key": "id", "time": "ts"} | parts.pop("feedback", {})
    document = {
        "name": name,
        "kafka": {"bootstrap": "127.0.0.1:9"},
        "events": {
            "impressions": impressions | parts.pop("impressions", {}),
            "feedback": [feedback, *parts.pop("more_feedback", [])],
        },
        "features": [{"name": "item", "source": "item", "table": "items"}],
        "tables": [{"name": "items", "dim": 4}],
        "store": {"url": "memory://test"},
    }
    return Pipeline.model_validate(document | parts)
