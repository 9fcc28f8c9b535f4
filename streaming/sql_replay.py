"""The join once more over what was late: the same SQL, bounded, with no event behind the watermark; submits nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from infra import spec
from infra.units import Duration
from streaming import kafka_options, sample, sql, sql_inputs, sql_join, sql_sources, topics
from streaming.sql_text import FUNCTIONS, identifier, literal

# Longer than any topic is kept: event time stands still until everything is read, and then ends.
_NEVER_LATE = Duration("900d")
# A job that has read everything waits for one more checkpoint.
_CHECKPOINT = Duration("2s")


@dataclass(frozen=True)
class Wanted:
    """The keys to join again for one kind of feedback.

    Args:
        keys: All of them, none of which is positive yet.
        without_verdict: Those of them that have no sample yet, so that a negative is one too.
    """

    keys: frozenset[str]
    without_verdict: frozenset[str]


def replay_plan(pipeline: spec.Pipeline, wanted: Mapping[str, Wanted]) -> sql.JoinPlan:
    """A job that reads what the topics hold now, joins the keys wanted, and ends.

    Its sample ids end in numbers of their own, so that no sample of before is taken for a repeat of one, and the same
    replay gives the same ids.

    Args:
        pipeline: The join.
        wanted: Kind of feedback -> keys; no other kind is joined.

    Raises:
        Invalid: A secret cannot be read.
    """
    # A topic that has been read ends by itself. One that is slow to begin must not count as idle, for event time ends
    # with the last heartbeat, and everything behind it would be late.
    waiting = {"out_of_orderness": _NEVER_LATE, "idle_timeout": _NEVER_LATE}
    join = pipeline.join.model_copy(update={**waiting, "keep_negatives": 1.0})
    flink = pipeline.flink.model_copy(update={"checkpoint_interval": _CHECKPOINT})
    bounded = pipeline.model_copy(update={"join": join, "flink": flink})
    connection = kafka_options.connection(pipeline.kafka, reveal=True)
    reading = {**connection, "scan.startup.mode": "earliest-offset", "scan.bounded.mode": "latest-offset"}
    every = frozenset[str]().union(*(each.keys for each in wanted.values()))
    impressions = sql.impressions_source(bounded, keys=every)
    definitions = [*FUNCTIONS, *sql_sources.statements(impressions, bounded, reading, reveal=True)]
    definitions += sql_inputs.number_impressions(impressions)
    branches = []
    for kind in pipeline.events.feedback:
        if kind.name not in wanted:
            continue
        feedback = sql.feedback_source(bounded, kind, keys=wanted[kind.name].keys)
        again = sql_join.Join(impressions, feedback, kind, bounded, first_emission=sample.REPLAY)
        definitions += sql_sources.statements(feedback, bounded, reading, reveal=True)
        definitions += [*sql_inputs.order_feedback(feedback), *sql_join.views(again)]
        branches.append(_branch(again.outcomes, wanted[kind.name]))
    keys = "\n".join(f"{name} {' '.join(sorted(each.keys))}" for name, each in sorted(wanted.items()))
    unique = hashlib.sha256(keys.encode()).hexdigest()[:12]
    definitions.append(sql.output_table(bounded, connection, f"replay.{unique}"))
    rows = "\nUNION ALL\n".join(branches)
    where = f"`#topic` = {literal(topics.samples(pipeline.name))}"
    return Replay(
        model=pipeline.name,
        plan_hash=unique,
        definitions=tuple(definitions),
        insert=f"INSERT INTO {identifier(sql.OUTPUT)}\nSELECT * FROM (\n{rows}\n) WHERE {where}",
        settings=sql.settings(bounded),
        encodings=sql.encodings(pipeline),
    )


class Replay(sql.JoinPlan):
    """A replay, which is no join of the model to whoever looks for one."""

    @property
    def job_name(self) -> str:
        return f"springtide-replay {self.model} {self.plan_hash}"


def _branch(view: str, wanted: Wanted) -> str:
    """Positives of every key, and negatives of those without a verdict."""
    negative = f"JSON_VALUE(`#value`, '$.kind') IN ({literal(sample.TIMEOUT)}, {literal(sample.IMPRESSION)})"
    allowed = f"NOT {negative}"
    if wanted.without_verdict:
        allowed += f" OR `#key` IN ({_list(wanted.without_verdict)})"
    return (
        f"SELECT `#topic`, `#key`, `#value` FROM {identifier(view)}"
        f" WHERE `#key` IN ({_list(wanted.keys)}) AND ({allowed})"
    )


def _list(keys: frozenset[str]) -> str:
    return ", ".join(map(literal, sorted(keys)))
