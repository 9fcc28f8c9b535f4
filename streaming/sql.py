"""From a pipeline to the whole Flink job: statements, settings and a name; must not know how it is submitted."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from infra import spec
from infra.units import Duration
from streaming import kafka_options, sql_inputs, sql_join, sql_sources, topics
from streaming.sql_text import FUNCTIONS, create_table, identifier, literal

# Counted into the plan's hash: raise it when the same pipeline shall give another job.
_GENERATION = 3
# No state outlives its use by less.
_STATE_FACTOR = 2
# A transaction that is left open hides everything behind it from its readers for so long.
_TRANSACTION_TIMEOUT = Duration("15m")

OUTPUT = "output"


@dataclass(frozen=True)
class JoinPlan:
    """A job, ready to be submitted.

    Args:
        model: The pipeline's name.
        plan_hash: 12 hexadecimal digits; differs where the job's output would.
        definitions: CREATE statements, in order. They hold secrets: never log them.
        insert: The one INSERT statement.
        settings: Flink's settings for the job.
        encodings: In what its events come.
    """

    model: str
    plan_hash: str
    definitions: tuple[str, ...] = field(repr=False)
    insert: str
    settings: Mapping[str, str]
    encodings: frozenset[str]

    @property
    def job_name(self) -> str:
        """How the job is found again on the cluster."""
        return f"{job_prefix(self.model)}{self.plan_hash}"

    @property
    def folder(self) -> str:
        """What tells its checkpoints from those of other plans, as a path."""
        return f"{self.model}/{self.plan_hash}"


def job_prefix(model: str) -> str:
    """What the name of every join of one model begins with."""
    return f"springtide-join {model} "


def plan(pipeline: spec.Pipeline, *, cutover_ms: int = 0, checkpoints: str | None = None) -> JoinPlan:
    """The job for ``pipeline``.

    Args:
        pipeline: What to join.
        cutover_ms: Emit only what could be known from this moment on, ms since 1970, and read back so far that all of
            it is found; 0 reads and emits everything. It is no part of the plan's hash.
        checkpoints: Folder for the job's checkpoints; None keeps the pipeline's or the cluster's.

    Raises:
        Invalid: Fields, names or topics exclude each other, or a secret cannot be read.
    """
    masked, insert = _statements(pipeline, reveal=False, cutover_ms=0, unique="")
    job = settings(pipeline)
    counted = "\n".join([str(_GENERATION), *masked, insert, job["parallelism.default"]])
    plan_hash = hashlib.sha256(counted.encode()).hexdigest()[:12]
    if checkpoints is not None:
        job["execution.checkpointing.dir"] = checkpoints
    definitions, insert = _statements(pipeline, reveal=True, cutover_ms=cutover_ms, unique=plan_hash)
    return JoinPlan(
        model=pipeline.name,
        plan_hash=plan_hash,
        definitions=definitions,
        insert=insert,
        settings=job,
        encodings=encodings(pipeline),
    )


def encodings(pipeline: spec.Pipeline) -> frozenset[str]:
    """In what the events of the topics come."""
    return frozenset(topic.format for topic in (pipeline.events.impressions, *pipeline.events.feedback))


def read_back(pipeline: spec.Pipeline) -> Duration:
    """How far before a cut-over the events lie that decide what is emitted from then on.

    The eldest is the impression, a correction window old, of feedback that would be given up just then.
    """
    join = pipeline.join
    longest = max(sum(each.ms for each in join.windows(kind)) for kind in pipeline.events.feedback)
    return Duration(f"{longest + 2 * (join.skew.ms + join.out_of_orderness.ms) + join.future_bound.ms}ms")


def state_kept(pipeline: spec.Pipeline) -> Duration:
    """How long the join remembers a key after its last event, at least: Flink forgets up to half as much later."""
    return Duration(f"{max(pipeline.join.repeat_window.ms, _STATE_FACTOR * read_back(pipeline).ms)}ms")


def _statements(pipeline: spec.Pipeline, *, reveal: bool, cutover_ms: int, unique: str) -> tuple[tuple[str, ...], str]:
    connection = kafka_options.connection(pipeline.kafka, reveal=reveal)
    start = _start(pipeline, cutover_ms)
    impressions = impressions_source(pipeline)
    sources = [impressions]
    joins: list[sql_join.Join] = []
    for kind in pipeline.events.feedback:
        shared = any(kind.topic == source.topic.topic for source in sources)
        feedback = feedback_source(pipeline, kind, tells_dead=not shared)
        joins.append(sql_join.Join(impressions, feedback, kind, pipeline, tells_repeats=not joins))
        sources.append(feedback)
    definitions = [*FUNCTIONS]
    definitions += [
        text
        for source in sources
        for text in sql_sources.statements(source, pipeline, {**connection, **start}, reveal=reveal)
    ]
    definitions += sql_inputs.number_impressions(impressions)
    for join in joins:
        definitions += [*sql_inputs.order_feedback(join.feedback), *sql_join.views(join)]
    definitions.append(output_table(pipeline, connection, unique))
    return tuple(definitions), _insert(pipeline, joins, [each for each in sources if each.tells_dead], cutover_ms)


def impressions_source(pipeline: spec.Pipeline, *, keys: frozenset[str] | None = None) -> sql_sources.Source:
    """The impressions; of some keys only, then without dead letters."""
    events = pipeline.events.impressions
    return sql_sources.Source(
        name="impressions",
        topic=events,
        heartbeat=topics.impressions_heartbeat(pipeline.name),
        fields=events.fields,
        weight=events.weight,
        keys=keys,
        tells_dead=keys is None,
    )


def feedback_source(
    pipeline: spec.Pipeline, kind: spec.Feedback, *, keys: frozenset[str] | None = None, tells_dead: bool = True
) -> sql_sources.Source:
    """One kind of feedback; of some keys only, then without dead letters."""
    return sql_sources.Source(
        name=f"feedback {kind.name}",
        topic=kind,
        heartbeat=topics.feedback_heartbeat(pipeline.name, kind.name),
        when=kind.when,
        keys=keys,
        tells_dead=tells_dead and keys is None,
    )


def _start(pipeline: spec.Pipeline, cutover_ms: int) -> dict[str, str]:
    """Where a job without a checkpoint begins to read."""
    if not cutover_ms:
        return {"scan.startup.mode": "earliest-offset"}
    begin = max(0, cutover_ms - read_back(pipeline).ms)
    return {"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": str(begin)}


def output_table(pipeline: spec.Pipeline, connection: Mapping[str, str], unique: str) -> str:
    """One sink for every topic of Springtide's: the row says which. Values are JSON already."""
    name = pipeline.name
    delivery = {"sink.delivery-guarantee": "at-least-once"}
    if pipeline.samples.delivery == "exactly_once":
        delivery = {
            "sink.delivery-guarantee": "exactly-once",
            # Names are taken from a pool and given back: nothing is left open under a name that nobody knows.
            "sink.transaction-naming-strategy": "POOLING",
            "sink.transactional-id-prefix": f"springtide.{name}.{unique}",
            # Brokers refuse more than 15 minutes by default; Flink's own default is an hour.
            "properties.transaction.timeout.ms": str(_TRANSACTION_TIMEOUT.ms),
        }
    return create_table(
        OUTPUT,
        ["`#topic` STRING NOT NULL METADATA FROM 'topic'", "`#key` STRING", "`#value` STRING"],
        {
            **connection,
            "topic": ";".join((topics.samples(name), topics.late(name), topics.dead(name))),
            "key.format": "raw",
            "key.fields": "#key",
            "value.format": "raw",
            "value.fields-include": "EXCEPT_KEY",
            **delivery,
            "properties.linger.ms": "5",
            "properties.max.request.size": str(topics.LARGEST_MESSAGE),
            # An outage is waited out by the producer for so long before the job starts over from its checkpoint.
            "properties.delivery.timeout.ms": "60000",
            "properties.request.timeout.ms": "20000",
        },
    )


def _insert(
    pipeline: spec.Pipeline, joins: list[sql_join.Join], sources: list[sql_sources.Source], cutover_ms: int
) -> str:
    dead = literal(topics.dead(pipeline.name))
    branches = [f"SELECT `#topic`, `#key`, `#value`, `#known` FROM {identifier(join.outcomes)}" for join in joins]
    branches += [
        f"SELECT {dead}, `#key`, `#value`, `#known` FROM {identifier(source.name + ' dead')}" for source in sources
    ]
    both = "\nUNION ALL\n".join(branches)
    # Always there, so that a job without a cut-over goes on from the state of one that had it.
    since = f"`#known` >= TO_TIMESTAMP_LTZ(CAST({cutover_ms} AS BIGINT), 3)"
    return f"INSERT INTO {identifier(OUTPUT)}\nSELECT `#topic`, `#key`, `#value` FROM (\n{both}\n) WHERE {since}"


def settings(pipeline: spec.Pipeline) -> dict[str, str]:
    """Flink's settings for the job."""
    flink = pipeline.flink
    found = {
        "parallelism.default": str(flink.parallelism),
        "table.local-time-zone": "UTC",
        "table.exec.state.ttl": f"{state_kept(pipeline).ms} ms",
        # The operators of Flink SQL keep no reference to a row that they have passed on: copies would be for nothing.
        "pipeline.object-reuse": "true",
        # A click crosses four exchanges; at the default of 100 ms each it would wait longer there than it is worked on.
        "execution.buffer-timeout.interval": "10 ms",
        # Rows and heartbeats emit on event; alone it changed nothing (docs/LOG.md); it was measured with both.
        "pipeline.auto-watermark-interval": "20 ms",
        "execution.checkpointing.interval": f"{flink.checkpoint_interval.ms} ms",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        # All of the state travels each time and is hashed on its way to the store, which costs more than packing it.
        "execution.checkpointing.snapshot-compression": "true",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "execution.checkpointing.tolerable-failed-checkpoints": str(2**31 - 1),
    }
    if flink.checkpoints is not None:
        found["execution.checkpointing.storage"] = "filesystem"
        found["execution.checkpointing.dir"] = flink.checkpoints
    return found
