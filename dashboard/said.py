"""Turns what processes say of themselves into sections of a tick; believes none of it to be well formed."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from dashboard.applied import newest_first
from dashboard.measurement import Measurement
from dashboard.targets import Answer
from infra.clock import iso
from infra.spec import Pipeline

_TABLE: Final = ("rows", "memory_bytes", "admitted", "evicted")


def about(pipeline: Pipeline, *, may_decide: bool) -> dict[str, Any]:
    """What does not change while the page runs."""
    return {
        "name": pipeline.name,
        "model": pipeline.model.name,
        "slo_ms": pipeline.slo.behind.ms,
        "window_ms": pipeline.join.window.ms,
        "feedback_topic": pipeline.events.feedback[0].topic,
        "feedback": pipeline.events.feedback[0].name,
        "bucket_ms": pipeline.learner.quality_bucket.ms,
        "may_decide": may_decide,
    }


def process(answer: Answer | None, fields: Sequence[str]) -> dict[str, Any] | None:
    """A learner or join; None where none is listed."""
    if answer is None:
        return None
    said = {name: answer.status.get(name) for name in fields}
    return {"up": answer.up, "since_ts": answer.since_ms, "why": answer.why, **said}


def in_order(replicas: Iterable[Answer]) -> list[Answer]:
    """By name, whose numbers are read as such: `replica-2` stands before `replica-10`."""
    return sorted(replicas, key=lambda each: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", each.name)])


def replica(answer: Answer, measured: Measurement) -> dict[str, Any]:
    """One replica."""
    behind = measured.replicas.get(answer.name)
    applied = next(newest_first(answer.status), None)
    return {
        "name": answer.name,
        "up": answer.up,
        "since_ts": answer.since_ms,
        "ready": bool(answer.status.get("ready")),
        "version": answer.status.get("version"),
        "applied_ts": applied[1] if applied else None,
        "oldest_received_ts": behind.oldest_received_ms if behind else None,
        "known": behind is not None,
    }


def tables(learner: Answer | None) -> list[dict[str, Any]]:
    """The learner's tables, by name; what is no table is left out."""
    said = learner.status.get("tables") if learner is not None else None
    if not isinstance(said, Mapping):
        return []
    return [
        {"name": str(name), **{field: number(table.get(field)) for field in _TABLE}}
        for name, table in sorted(said.items())
        if isinstance(table, Mapping)
    ]


def decided(learner: Answer | None, replicas: Sequence[Answer]) -> list[str]:
    """The decisions that the processes say they obey, each once."""
    found: dict[str, None] = {}
    if learner is not None and learner.up and isinstance(learner.status.get("held"), str):
        found[f"Learning waits: {learner.status['held']}"] = None
    for each in replicas:
        pin = each.status.get("pinned") if each.up else None
        if isinstance(pin, Mapping):
            why = f": {pin['why']}" if pin.get("why") else ""
            since = iso(number(pin.get("since_ts")))[:19].replace("T", " ") + " UTC"
            found[f"Replicas are pinned to version {pin.get('version')} by {pin.get('by')} since {since}{why}"] = None
    return list(found)


def held(join: Answer | None, pipeline: Pipeline) -> list[str]:
    """The topics of the kinds of feedback whose negatives the join holds back."""
    said = join.status.get("held") if join is not None and join.up else None
    topics = {kind.name: kind.topic for kind in pipeline.events.feedback}
    return [topics.get(str(name), str(name)) for name in said] if isinstance(said, list) else []


def number(said: object) -> int:
    """A whole number, or 0 for anything else."""
    return said if isinstance(said, int) else 0
