"""What the join could not use: late, repeated and unreadable events, listed, and what was late joined again."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from infra import spec
from infra.clock import Clock
from infra.errors import Unavailable
from infra.kafka import PartitionReader
from streaming import sample, topics
from streaming.beginning import require_own_join
from streaming.flink_rest import FlinkRest
from streaming.planner import Planner
from streaming.sql_replay import Wanted, replay_plan
from streaming.topic_tail import TopicTail

# Keys stand in the SQL as they are.
KEYS_PER_JOB: Final = 2000
_FETCH_S: Final = 5.0
_POLL_S: Final = 0.2


@dataclass(frozen=True)
class Unused:
    """An event that became no sample.

    Attributes:
        reason: Why.
        feedback: The kind of feedback that it is, or whose label it misses; None for others.
        key: Its join key, or None where it cannot be read.
        topic: The user's topic in which it stands.
        partition: Its partition there.
        offset: Its offset there.
        told_ms: When the join told it, ms since 1970.
        body: Its original bytes; None where it has none, or was told by an earlier release, without them.
    """

    reason: str
    feedback: str | None
    key: str | None
    topic: str
    partition: int
    offset: int
    told_ms: int
    body: bytes | None


def unused(pipeline: spec.Pipeline, *, since_ms: int = 0) -> Iterator[Unused]:
    """Everything that the join has set aside since then, what was late first; each event once per reason.

    Raises:
        Unavailable: No broker answers, or the join has not made its topics yet.
    """
    seen: set[tuple[str, str | None, str, int, int]] = set()
    for topic in (topics.late_of(pipeline), topics.dead_of(pipeline)):
        with TopicTail(pipeline.kafka, topic, since_ms=since_ms, group=f"springtide.{pipeline.name}.late") as tail:
            for record in tail.read():
                row: dict[str, Any] = orjson.loads(record.value)
                if "topic" not in row:
                    continue  # written before rows said where their event stands
                body = base64.b64decode(row["body"]) if row.get("body") is not None else None
                found = Unused(
                    row["reason"],
                    row.get("feedback"),
                    row.get("key"),
                    row["topic"],
                    row["partition"],
                    row["offset"],
                    record.received_ms,
                    body,
                )
                place = (found.reason, found.feedback, found.topic, found.partition, found.offset)
                if place not in seen:
                    seen.add(place)
                    yield found


def counts(rows: list[Unused]) -> Counter[tuple[str, str, str]]:
    """How many there are of each reason, topic and kind of feedback (empty for none)."""
    return Counter((row.reason, row.topic, row.feedback or "") for row in rows)


def original(pipeline: spec.Pipeline, row: Unused) -> bytes | None:
    """The event's bytes, from the user's topic where the row has none; None where that keeps them no longer.

    Raises:
        Unavailable: No broker answers.
    """
    if row.body is not None:
        return row.body
    with PartitionReader(pipeline.kafka, row.topic, group=f"springtide.{pipeline.name}.late") as reader:
        marks = reader.watermarks().get(row.partition)
        if marks is None or not marks.low <= row.offset < marks.high:
            return None
        reader.assign({row.partition: row.offset})
        batch = reader.poll_batch(1, _FETCH_S)
    if not len(batch.values) or int(batch.offsets[0]) != row.offset:
        return None
    return batch.values[0]


def wanted(pipeline: spec.Pipeline, rows: Iterable[Unused]) -> dict[str, Wanted]:
    """What of ``rows`` can be joined again, per kind of feedback: late impressions, and orphans.

    A key that is positive already is left out, for it would become so twice.

    Raises:
        Unavailable: No broker answers.
    """
    late: dict[str, set[str]] = {}
    for row in rows:
        if row.reason in topics.LATE_REASONS[:2] and row.feedback is not None and row.key is not None:
            late.setdefault(row.feedback, set()).add(row.key)
    answered: dict[str, set[str]] = {name: set() for name in late}
    positive: dict[str, set[str]] = {name: set() for name in late}
    topic, group = topics.samples_of(pipeline), f"springtide.{pipeline.name}.late"
    with TopicTail(pipeline.kafka, topic, group=group) as tail:
        for record in tail.read():
            row_of = orjson.loads(record.value)
            key, _, end = str(row_of["sample_id"]).rpartition("#")
            name = end.rpartition(".")[0]
            if key in late.get(name, ()):
                answered[name].add(key)
                if row_of[sample.label(name)] == 1:
                    positive[name].add(key)
    left = {name: keys - positive[name] for name, keys in late.items()}
    return {name: Wanted(frozenset(keys), frozenset(keys - answered[name])) for name, keys in left.items() if keys}


def replay(pipeline: spec.Pipeline, jobs: Mapping[str, Wanted], planner: Planner, *, clock: Clock) -> None:
    """Joins the keys wanted again and returns when their samples are written.

    Raises:
        Invalid: The samples are those of another model's join.
        Unavailable: The cluster does not answer, or the job failed.
    """
    require_own_join(pipeline)
    for part in _parts(jobs):
        with FlinkRest(pipeline.flink.rest) as cluster:
            job_id = planner.submit(replay_plan(pipeline, part), cluster)
            while (job := cluster.job(job_id)) is not None and not job.ended:
                clock.sleep(_POLL_S)
            if job is None or job.state != "FINISHED":
                cause = cluster.cause(job_id) if job is not None else None
                raise Unavailable(
                    f"flink: the replay {job_id} failed: {cause or 'the cluster lost it'}",
                    cure="run it again: its samples bear the same ids",
                    where=pipeline.flink.rest,
                )


def _parts(jobs: Mapping[str, Wanted]) -> Iterator[dict[str, Wanted]]:
    """Jobs of so many keys that their SQL stays small."""
    for name, each in jobs.items():
        keys = sorted(each.keys)
        for begin in range(0, len(keys), KEYS_PER_JOB):
            part = frozenset(keys[begin : begin + KEYS_PER_JOB])
            yield {name: Wanted(part, part & each.without_verdict)}
