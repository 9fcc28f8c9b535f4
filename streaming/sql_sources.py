"""Reads the user's topics in SQL: what is a valid event, what is a dead letter; must not know the join."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra import spec
from infra.units import Duration
from streaming import event_format
from streaming.sql_columns import EventColumn, event_columns
from streaming.sql_text import create_table, create_view, identifier, interval, json_object, literal, rounded_down
from streaming.topics import HEARTBEAT_KEY

# A new partition of the user's is read after this long.
_DISCOVERY = "30 s"

# How far each topic has come is compared so often.
_ALIGNED_EVERY = "1 s"

# Where nothing but dead letters comes, event time follows at least so far behind: one bad message among events that are
# handed in hours after they happened shall not make them late.
_DEAD_LAG = Duration("2h")

# Event time moves in steps of at most so much, and of at most this share of the out-of-orderness: each step crosses the
# whole job, and of steps as small as the events' distance that was half of its work.
_STEPS_MS = (100, 50, 20, 10, 5, 2, 1)
_STEP_SHARE = 20

# Where an event stands in Kafka, and since when.
_METADATA = (
    "`#received` TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL",
    "`#partition` INT NOT NULL METADATA FROM 'partition' VIRTUAL",
    "`#offset` BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL",
)
_PLACE = ["`#received`", "`#partition`", "`#offset`"]
_BODY = "`#body`"


@dataclass(frozen=True)
class Source:
    """One topic of the user's, with its heartbeat topic.

    Args:
        name: What its tables and views are called.
        topic: The topic as the pipeline describes it.
        heartbeat: Springtide's topic that moves its event time when nothing arrives.
        fields: The attributes to read, beside key and time.
        weight: The attribute that holds the weight, if any.
        when: Which events of the topic are meant, if not all.
        keys: Only events of these keys, if not all.
        tells_dead: Whether this source reports the topic's dead letters; of several over one topic one does.
    """

    name: str
    topic: spec.Topic
    heartbeat: str
    fields: tuple[spec.EventField, ...] = ()
    weight: str | None = None
    when: spec.Condition | None = None
    keys: frozenset[str] | None = None
    tells_dead: bool = True

    @property
    def event_columns(self) -> tuple[EventColumn, ...]:
        """The attributes that are read, and how."""
        return event_columns(self.topic, self.fields, self.weight, self.when)

    @property
    def columns(self) -> tuple[str, ...]:
        """What the view :attr:`name` holds beside its key, time and receive time."""
        weight = ("#weight",) if self.weight is not None else ()
        return (*weight, *(field.name for field in self.fields))


def statements(source: Source, pipeline: spec.Pipeline, connection: Mapping[str, str], *, reveal: bool) -> list[str]:
    """Tables and views for one source.

    The view ``<name>`` holds every valid event as read, and its event time moves on with the heartbeats too: `#key`,
    `#ts` (event time, with a watermark), `#received` (Kafka's timestamp), `#partition`, `#offset`, `#body` (the event's
    bytes), `#arrival` (processing time), and :attr:`Source.columns`. The view ``<name> dead`` holds what is no event,
    as rows of the topic of dead letters. Both read the topic once: the decoder makes a row of every message, see
    `EventDecoder.java`.

    Args:
        source: What to read.
        pipeline: The join.
        connection: Options that reach Kafka and say where reading starts.
        reveal: Whether secrets stand in the statements as they are.

    Raises:
        Invalid: A secret or the description of a Protobuf message cannot be read.
    """
    found = [
        _events_table(source, pipeline, connection, reveal),
        _heartbeat_table(source, pipeline, connection),
        _events_view(source, pipeline),
    ]
    if source.tells_dead:
        found.append(_dead_view(source, pipeline))
    return found


def _events_table(source: Source, pipeline: spec.Pipeline, connection: Mapping[str, str], reveal: bool) -> str:
    columns = [f"{identifier(column.name)} {column.sql_type}" for column in source.event_columns]
    columns += [
        "`#readable` BOOLEAN",
        "`#body` BYTES",
        *_METADATA,
        f"WATERMARK FOR `#ts` AS {_watermark(pipeline.join, dead_lag=_dead_lag(pipeline))}",
    ]
    return create_table(
        f"{source.name} events",
        columns,
        {
            **_reader(connection, source.topic.topic, f"springtide.{pipeline.name}.join"),
            # A fetch gathers for 20 ms, or 64 KiB: answered at once, a busy topic is asked hundreds of times a second.
            "properties.fetch.min.bytes": str(64 << 10),
            "properties.fetch.max.wait.ms": "20",
            **event_format.options(source.topic, source.event_columns, pipeline.schema_registry, reveal=reveal),
            "scan.watermark.emit.strategy": "on-event",
            "scan.watermark.idle-timeout": f"{pipeline.join.idle_timeout.ms} ms",
            **_alignment(pipeline),
        },
    )


def _alignment(pipeline: spec.Pipeline) -> dict[str, str]:
    """In a replay no topic runs hours ahead of the others: the join would have to hold what it cannot yet decide.

    As events come, nobody waits for a topic that is silent for less than the idle timeout, for a partition of nothing
    but dead letters, or for a kind that is behind by no more than the longest correction window.
    """
    return {
        "scan.watermark.alignment.group": "events",
        "scan.watermark.alignment.max-drift": f"{drift(pipeline).ms} ms",
        "scan.watermark.alignment.update-interval": _ALIGNED_EVERY,
    }


def drift(pipeline: spec.Pipeline) -> Duration:
    """How far, in event time, a topic may run ahead of the others while the join catches up."""
    return Duration(f"{_dead_lag(pipeline).ms + pipeline.join.idle_timeout.ms}ms")


def _dead_lag(pipeline: spec.Pipeline) -> Duration:
    """How far event time stays behind Kafka's where only dead letters come."""
    join = pipeline.join
    longest = max(each.ms for kind in pipeline.events.feedback for each in join.windows(kind))
    return Duration(f"{max(longest, _DEAD_LAG.ms) + join.out_of_orderness.ms}ms")


def _heartbeat_table(source: Source, pipeline: spec.Pipeline, connection: Mapping[str, str]) -> str:
    return create_table(
        f"{source.name} heartbeat",
        [
            "`id` STRING",
            "`ts` TIMESTAMP_LTZ(3)",
            *_METADATA,
            "`#ts` AS `ts`",
            f"WATERMARK FOR `#ts` AS {_watermark(pipeline.join)}",
        ],
        {
            **_reader(connection, source.heartbeat, f"springtide.{pipeline.name}.heartbeat"),
            "format": "json",
            "json.ignore-parse-errors": "true",
            "json.timestamp-format.standard": "ISO-8601",
            "scan.watermark.emit.strategy": "on-event",
            # One partition: a second reader would never see an event and hold event time back for ever.
            "scan.parallelism": "1",
        },
    )


def _reader(connection: Mapping[str, str], topic: str, group: str) -> dict[str, str]:
    """Options of every source; where it starts reading is said in ``connection``."""
    return {
        **connection,
        "topic": topic,
        "properties.group.id": group,
        "scan.topic-partition-discovery.interval": _DISCOVERY,
    }


def _events_view(source: Source, pipeline: spec.Pipeline) -> str:
    types = {column.name: column.sql_type for column in source.event_columns}
    names = [identifier(name) for name in source.columns]
    events = ", ".join(["`#key`", "`#ts`", *_PLACE, _BODY, *names])
    nothing = [f"CAST(NULL AS {types[name]}) AS {identifier(name)}" for name in source.columns]
    beats = ", ".join(["`id` AS `#key`", "`#ts`", *_PLACE, f"CAST(NULL AS BYTES) AS {_BODY}", *nothing])
    valid = f"{_good_key()} AND `#ts` IS NOT NULL AND NOT {_future(pipeline.join)} AND {_meant(source.when)}"
    if source.keys is not None:
        valid += f" AND `#key` IN ({', '.join(map(literal, sorted(source.keys)))})"
    both = (
        f"  SELECT {events}\n  FROM {identifier(source.name + ' events')}\n  WHERE {valid}\n"
        f"  UNION ALL\n"
        f"  SELECT {beats}\n  FROM {identifier(source.name + ' heartbeat')}"
    )
    return create_view(
        source.name,
        f"SELECT *, PROCTIME() AS `#arrival` FROM (\n{both}\n) WHERE `#key` <> {literal(HEARTBEAT_KEY)}",
    )


def _dead_view(source: Source, pipeline: spec.Pipeline) -> str:
    measured = source.when is not None and source.when.at_least is not None
    no_value = "\n    WHEN `#when` IS NULL THEN 'no_value'" if measured else ""
    reason = (
        "CASE WHEN NOT `#readable` THEN 'malformed'\n"
        f"    WHEN NOT COALESCE({_good_key()}, FALSE) THEN 'no_key'\n"
        "    WHEN `#ts` IS NULL THEN 'no_time'\n"
        f"    WHEN {_future(pipeline.join)} THEN 'future'{no_value} END"
    )
    value = json_object(
        [
            ("reason", "`#reason`"),
            ("topic", literal(source.topic.topic)),
            ("partition", "`#partition`"),
            ("offset", "`#offset`"),
            ("received_ts", "`#received`"),
            ("body", "`#body`"),  # bytes are written as base64
        ]
    )
    return create_view(
        f"{source.name} dead",
        f"SELECT CAST(NULL AS STRING) AS `#key`, {value} AS `#value`, `#received` AS `#known`\n"
        f"FROM (SELECT *, {reason} AS `#reason`\n  FROM {identifier(source.name + ' events')})\n"
        "WHERE `#reason` IS NOT NULL",
    )


def _meant(when: spec.Condition | None) -> str:
    """Whether an event is one of those meant."""
    if when is None:
        return "TRUE"
    if when.equals is not None:
        return f"`#when` = {literal(when.equals)}"
    return f"`#when` >= CAST({when.at_least!r} AS DOUBLE)"


def _good_key() -> str:
    return f"(`#key` <> '' AND `#key` <> {literal(HEARTBEAT_KEY)})"


def _future(join: spec.Join) -> str:
    """Judged against Kafka's own timestamp, so that a restarted job comes to the same verdict."""
    return f"(`#ts` > `#received` + {interval(join.future_bound)})"


def _watermark(join: spec.Join, *, dead_lag: Duration | None = None) -> str:
    """No event from the future moves event time on, also where the producer's own clock stamped it.

    It moves in steps, always downwards and by the events alone: nothing becomes late by that, a replay finds late what
    was late before, and what waits for event time leaves later by a step at most.

    A dead letter moves it as far as ``dead_lag`` behind its receipt: a partition of which every row is one would never
    count as idle, and hold back the event time of all for ever.
    """
    now = f"CURRENT_TIMESTAMP + {interval(join.future_bound)}"
    step = _step(join)
    dead = ""
    if dead_lag is not None:
        behind = rounded_down(f"(`#received` - {interval(dead_lag)})", step)
        dead = f"    WHEN `#received` <= {now} THEN {behind}\n"
    return (
        f"CASE WHEN `#ts` <= {now} AND NOT {_future(join)}\n"
        f"    THEN {rounded_down(f'(`#ts` - {interval(join.out_of_orderness)})', step)}\n"
        f"{dead}    ELSE CAST(NULL AS TIMESTAMP_LTZ(3)) END"
    )


def _step(join: spec.Join) -> Duration:
    """In what steps event time moves; a step divides a second."""
    wanted = join.out_of_orderness.ms // _STEP_SHARE
    return Duration(f"{next((step for step in _STEPS_MS if step <= wanted), 1)}ms")
