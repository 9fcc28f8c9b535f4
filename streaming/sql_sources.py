"""Reads the user's topics in SQL: what is a valid event, what is a dead letter; must not know the join."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra import spec
from infra.units import Duration
from streaming.sql_columns import EventColumns, finite
from streaming.sql_text import create_table, create_view, identifier, interval, json_object, literal, wire_time
from streaming.topics import HEARTBEAT_KEY

# A new partition of the user's is read after this long.
_DISCOVERY = "30 s"

_MILLISECONDS_PER_UNIT = {"s": "1000.0", "ms": "1.0", "us": "0.001"}
# Larger numbers are no times in any unit; they are refused before they overflow.
_LATEST_MS = "253402300799999.0"

# Flink's JSON format lets control characters stand inside a string, its JSON functions do not. For the latter, white
# space becomes a blank and the others a letter: inside a string both please, outside of one both refuse the letter.
_CONTROLS = "".join(f"\\{code:04x}" for code in range(0x20) if chr(code) not in "\t\n\r")
_CONTROL_FROM = f"U&'{_CONTROLS}\\0009\\000a\\000d'"
_CONTROL_TO = literal("x" * 29 + " " * 3)

# Flink's JSON format reads times leniently: 30 February is the month's last day and 24:00 the next day's beginning.
_ISO_TIME = (
    r"^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T"
    r"(([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?|24:00(:00(\.0{1,9})?)?)Z$"
)
_EPOCH = "TO_TIMESTAMP_LTZ(CAST(0 AS BIGINT), 3)"

# Where an event stands in Kafka, and since when.
_METADATA = (
    "`#received` TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL",
    "`#partition` INT NOT NULL METADATA FROM 'partition' VIRTUAL",
    "`#offset` BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL",
)
_PLACE = ["`#received`", "`#partition`", "`#offset`"]


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
    def event_columns(self) -> EventColumns:
        """The attributes that are read, and how."""
        return EventColumns(self.topic, self.fields, self.weight, self.when)

    @property
    def columns(self) -> tuple[str, ...]:
        """What the view :attr:`name` holds beside its key, time and receive time."""
        weight = ("#weight",) if self.weight is not None else ()
        return (*weight, *(field.name for field in self.fields))


def statements(source: Source, pipeline: spec.Pipeline, connection: Mapping[str, str]) -> list[str]:
    """Tables and views for one source.

    The view ``<name>`` holds every valid event as read, and its event time moves on with the heartbeats too: `#key`,
    `#ts` (event time, with a watermark), `#received` (Kafka's timestamp), `#partition`, `#offset`, `#arrival`
    (processing time), and :attr:`Source.columns`. The view ``<name> dead`` holds what is no event, as rows of the topic
    of dead letters.

    Raises:
        Invalid: One attribute is wanted in two ways that exclude each other.
    """
    found = [
        _events_table(source, pipeline, connection),
        _heartbeat_table(source, pipeline, connection),
        _events_view(source, pipeline),
    ]
    if source.tells_dead:
        found += [_raw_table(source, pipeline, connection), _dead_view(source, pipeline)]
    return found


def _events_table(source: Source, pipeline: spec.Pipeline, connection: Mapping[str, str]) -> str:
    topic, join = source.topic, pipeline.join
    columns = source.event_columns.definitions()
    columns += [
        *_METADATA,
        f"`#ts` AS {_event_time(topic)}",
        f"WATERMARK FOR `#ts` AS {_watermark(join)}",
    ]
    return create_table(
        f"{source.name} json",
        columns,
        {
            **_reader(connection, topic.topic, f"springtide.{pipeline.name}.join"),
            "format": "json",
            "json.ignore-parse-errors": "true",
            "json.timestamp-format.standard": "ISO-8601",
            # The other decoder stops at the last attribute wanted, and so takes a truncated event for a whole one.
            "json.decode.json-parser.enabled": "false",
            "scan.watermark.emit.strategy": "on-event",
            "scan.watermark.idle-timeout": f"{join.idle_timeout.ms} ms",
        },
    )


def _raw_table(source: Source, pipeline: spec.Pipeline, connection: Mapping[str, str]) -> str:
    return create_table(
        f"{source.name} raw",
        [
            "`#body` BYTES",
            *_METADATA,
        ],
        {**_reader(connection, source.topic.topic, f"springtide.{pipeline.name}.dead"), "format": "raw"},
    )


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
        "properties.fetch.max.wait.ms": "50",
        "scan.topic-partition-discovery.interval": _DISCOVERY,
    }


def _events_view(source: Source, pipeline: spec.Pipeline) -> str:
    key = identifier(source.topic.key)
    wanted = source.event_columns
    events = [f"{key} AS `#key`", "`#ts`", *_PLACE]
    events += [f"{wanted.expression(name)} AS {identifier(name)}" for name in source.columns]
    beats = ["`id` AS `#key`", "`#ts`", *_PLACE]
    beats += [f"CAST(NULL AS {wanted.type_of(name)}) AS {identifier(name)}" for name in source.columns]
    valid = f"{_good_key(key)} AND `#ts` >= {_EPOCH} AND NOT {_future('`#ts`', pipeline.join)} AND {wanted.meant()}"
    if source.keys is not None:
        valid += f" AND {key} IN ({', '.join(map(literal, sorted(source.keys)))})"
    both = (
        f"  SELECT {', '.join(events)}\n  FROM {identifier(source.name + ' json')}\n  WHERE {valid}\n"
        f"  UNION ALL\n"
        f"  SELECT {', '.join(beats)}\n  FROM {identifier(source.name + ' heartbeat')}"
    )
    return create_view(
        source.name,
        f"SELECT *, PROCTIME() AS `#arrival` FROM (\n{both}\n) WHERE `#key` <> {literal(HEARTBEAT_KEY)}",
    )


def _dead_view(source: Source, pipeline: spec.Pipeline) -> str:
    key, time = literal(f"$.{source.topic.key}"), literal(f"$.{source.topic.time}")
    text = "DECODE(`#body`, 'UTF-8')"
    tamed = f"TRANSLATE({text}, {_CONTROL_FROM}, {_CONTROL_TO})"
    json = (
        f"CASE WHEN ENCODE({text}, 'UTF-8') <> `#body` THEN CAST(NULL AS STRING)"
        f" WHEN {text} IS JSON OBJECT THEN {text} WHEN {tamed} IS JSON OBJECT THEN {tamed} END"
    )
    # JSON_VALUE knows scalars only; the JSON format takes an object's text for a string.
    key_of = f"COALESCE(JSON_VALUE(`#json`, {key}), JSON_QUERY(`#json`, {key}))"
    # The planner writes an expression out wherever its column is used; what comes out of an array is computed once.
    raw = f"SELECT *, ARRAY[{json}] AS `#once` FROM {identifier(source.name + ' raw')}"
    found = (
        f"SELECT *, ARRAY[ROW({key_of}, JSON_VALUE(`#json`, {time}))] AS `#pair` FROM {_unnested(raw, 'once', 'json')}"
    )
    measured = source.when is not None and source.when.at_least is not None
    value_of = f"TRY_CAST(JSON_VALUE(`#json`, {literal('$.' + source.when.field)}) AS DOUBLE)" if source.when else ""
    no_value = f"\n    WHEN ({finite(value_of)}) IS NULL THEN 'no_value'" if measured else ""
    moment = _time_of_text(source.topic, "`#time`")
    timed = f"SELECT *, ARRAY[{moment}] AS `#times`\n  FROM {_unnested(found, 'pair', 'key', 'time')}"
    reason = (
        "CASE WHEN `#json` IS NULL THEN 'malformed'\n"
        f"    WHEN NOT COALESCE({_good_key('`#key`')}, FALSE) THEN 'no_key'\n"
        f"    WHEN NOT COALESCE(`#ts` >= {_EPOCH}, FALSE) THEN 'no_time'\n"
        f"    WHEN {_future('`#ts`', pipeline.join)} THEN 'future'{no_value} END"
    )
    value = json_object(
        [
            ("reason", "`#reason`"),
            ("topic", literal(source.topic.topic)),
            ("partition", "`#partition`"),
            ("offset", "`#offset`"),
            ("received_ts", wire_time("`#received`")),
            ("body", "`#body`"),  # bytes are written as base64
        ]
    )
    return create_view(
        f"{source.name} dead",
        f"SELECT CAST(NULL AS STRING) AS `#key`, {value} AS `#value`, `#received` AS `#known`\n"
        f"FROM (SELECT *, {reason} AS `#reason`\n  FROM {_unnested(timed, 'times', 'ts')})\n"
        "WHERE `#reason` IS NOT NULL",
    )


def _unnested(query: str, array: str, *columns: str) -> str:
    names = ", ".join(f"`#{column}`" for column in columns)
    return f"(SELECT * FROM (\n  {query}\n) CROSS JOIN UNNEST(`#{array}`) AS `#of {array}` ({names}))"


def _event_time(topic: spec.Topic) -> str:
    time = identifier(topic.time)
    return time if topic.time_unit == "iso8601" else _time_of_number(topic, time)


def _time_of_text(topic: spec.Topic, text: str) -> str:
    """What the JSON format makes of the same text."""
    if topic.time_unit != "iso8601":
        return _time_of_number(topic, text)
    # Minutes without seconds are right too, and the cast wants all of it.
    whole = f"REPLACE(SUBSTRING({text}, 12), 'Z', '') || CASE WHEN CHAR_LENGTH({text}) = 17 THEN ':00' ELSE '' END"
    parts = f"SUBSTRING({text}, 1, 10) || ' ' || {whole}"
    midnight = f"TRY_CAST(SUBSTRING({text}, 1, 10) || ' 00:00:00' AS TIMESTAMP_LTZ(3)) + INTERVAL '1' DAY"
    moment = f"COALESCE(TRY_CAST({parts} AS TIMESTAMP_LTZ(3)), {midnight})"
    return f"CASE WHEN REGEXP({text}, {literal(_ISO_TIME)}) THEN {moment} END"


def _time_of_number(topic: spec.Topic, text: str) -> str:
    number = f"TRY_CAST({text} AS DOUBLE) * {_MILLISECONDS_PER_UNIT[topic.time_unit]}"
    return (
        f"CASE WHEN {number} BETWEEN 0.0 AND {_LATEST_MS} THEN TO_TIMESTAMP_LTZ(CAST(ROUND({number}) AS BIGINT), 3) END"
    )


def _good_key(key: str) -> str:
    return f"({key} <> '' AND {key} <> {literal(HEARTBEAT_KEY)})"


def _future(time: str, join: spec.Join) -> str:
    """Judged against Kafka's own timestamp: both readers of a topic, and a restarted one, come to the same verdict."""
    return f"({time} > `#received` + {interval(join.future_bound)})"


def _watermark(join: spec.Join) -> str:
    """No event from the future moves event time on, also where the producer's own clock stamped it."""
    bound: Duration = join.future_bound
    return (
        f"CASE WHEN `#ts` <= CURRENT_TIMESTAMP + {interval(bound)} AND NOT {_future('`#ts`', join)}\n"
        f"    THEN `#ts` - {interval(join.out_of_orderness)} ELSE CAST(NULL AS TIMESTAMP_LTZ(3)) END"
    )
