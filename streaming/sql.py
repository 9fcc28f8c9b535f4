"""From a pipeline to the whole Flink job: statements, settings and a name; must not know how it is submitted."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from infra import spec
from infra.units import Duration
from streaming import kafka_options, sql_join, sql_sources, topics
from streaming.sql_text import create_table, identifier, literal

# Counted into the plan's hash: raise it when the same pipeline shall give another job.
_GENERATION = 1
# Repeats of an event are recognised for at least this long after it, and no state outlives its use by less.
_RETRY_HORIZON = Duration("1h")
_STATE_FACTOR = 2

_OUTPUT = "output"


@dataclass(frozen=True)
class JoinPlan:
    """A job, ready to be submitted.

    Args:
        model: The pipeline's name.
        plan_hash: 12 hexadecimal digits; differs where the job's output would.
        definitions: CREATE statements, in order. They hold secrets: never log them.
        insert: The one INSERT statement.
        settings: Flink's settings for the job.
    """

    model: str
    plan_hash: str
    definitions: tuple[str, ...] = field(repr=False)
    insert: str
    settings: Mapping[str, str]

    @property
    def job_name(self) -> str:
        """How the job is found again on the cluster."""
        return f"{job_prefix(self.model)}{self.plan_hash}"


def job_prefix(model: str) -> str:
    """What the name of every join of one model begins with."""
    return f"springtide-join {model} "


def plan(pipeline: spec.Pipeline) -> JoinPlan:
    """The job for ``pipeline``.

    Raises:
        Invalid: Fields, names or topics exclude each other, or a secret cannot be read.
    """
    masked, insert = _statements(pipeline, reveal=False)
    settings = _settings(pipeline)
    counted = "\n".join([str(_GENERATION), *masked, insert, settings["parallelism.default"]])
    return JoinPlan(
        model=pipeline.name,
        plan_hash=hashlib.sha256(counted.encode()).hexdigest()[:12],
        definitions=_statements(pipeline, reveal=True)[0],
        insert=insert,
        settings=settings,
    )


def _statements(pipeline: spec.Pipeline, *, reveal: bool) -> tuple[tuple[str, ...], str]:
    connection = kafka_options.connection(pipeline.kafka, reveal=reveal)
    events = pipeline.events
    impressions = sql_sources.Source(
        name="impressions",
        topic=events.impressions,
        heartbeat=topics.impressions_heartbeat(pipeline.name),
        fields=events.impressions.fields,
        weight=events.impressions.weight,
    )
    (kind,) = events.feedback
    feedback = sql_sources.Source(
        name=f"feedback {kind.name}", topic=kind, heartbeat=topics.feedback_heartbeat(pipeline.name, kind.name)
    )
    definitions = (
        *sql_sources.statements(impressions, pipeline, connection),
        *sql_sources.statements(feedback, pipeline, connection),
        _output_table(pipeline, connection),
        *sql_join.views(sql_join.Join(impressions, feedback, kind.name, pipeline)),
    )
    return definitions, _insert(pipeline, (impressions, feedback))


def _output_table(pipeline: spec.Pipeline, connection: Mapping[str, str]) -> str:
    """One sink for every topic of Springtide's: the row says which. Values are JSON already."""
    name = pipeline.name
    return create_table(
        _OUTPUT,
        ["`#topic` STRING NOT NULL METADATA FROM 'topic'", "`#key` STRING", "`#value` STRING"],
        {
            **connection,
            "topic": ";".join((topics.samples(name), topics.late(name), topics.dead(name))),
            "key.format": "raw",
            "key.fields": "#key",
            "value.format": "raw",
            "value.fields-include": "EXCEPT_KEY",
            "sink.delivery-guarantee": "at-least-once",
            "properties.linger.ms": "5",
            # An outage is waited out by the producer for so long before the job starts over from its checkpoint.
            "properties.delivery.timeout.ms": "60000",
            "properties.request.timeout.ms": "20000",
        },
    )


def _insert(pipeline: spec.Pipeline, sources: tuple[sql_sources.Source, ...]) -> str:
    dead = literal(topics.dead(pipeline.name))
    branches = [
        f"SELECT `#topic`, `#key`, `#value` FROM {identifier(sql_join.VERDICTS)}",
        f"SELECT `#topic`, `#key`, `#value` FROM {identifier(sql_join.CORRECTIONS)}",
        *(f"SELECT {dead}, `#key`, `#value` FROM {identifier(source.name + ' dead')}" for source in sources),
    ]
    return f"INSERT INTO {identifier(_OUTPUT)}\n" + "\nUNION ALL\n".join(branches)


def _settings(pipeline: spec.Pipeline) -> dict[str, str]:
    join, flink = pipeline.join, pipeline.flink
    longest = join.correction_window.ms + join.skew.ms + join.out_of_orderness.ms
    state_ttl = max(_RETRY_HORIZON.ms, _STATE_FACTOR * longest)
    found = {
        "parallelism.default": str(flink.parallelism),
        "table.local-time-zone": "UTC",
        "table.exec.state.ttl": f"{state_ttl} ms",
        # The operators of Flink SQL keep no reference to a row that they have passed on: copies would be for nothing.
        "pipeline.object-reuse": "true",
        # A click crosses four exchanges; at the default of 100 ms each it would wait longer there than it is worked on.
        "execution.buffer-timeout.interval": "10 ms",
        # Verdicts of no click leave with the watermark: at the default of 200 ms they come in clumps, that much later.
        "pipeline.auto-watermark-interval": "20 ms",
        "execution.checkpointing.interval": f"{flink.checkpoint_interval.ms} ms",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "execution.checkpointing.tolerable-failed-checkpoints": str(2**31 - 1),
    }
    if flink.checkpoints is not None:
        found["execution.checkpointing.storage"] = "filesystem"
        found["execution.checkpointing.dir"] = flink.checkpoints
    return found
