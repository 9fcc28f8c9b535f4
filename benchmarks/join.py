"""How fast the join is against a bare one, how soon a click is a sample, what state costs; run by `make bench-join`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import orjson

from benchmarks.figures import Figure, report
from benchmarks.join_rig import (
    CLICKED,
    CLOCK,
    FIELDS,
    beat,
    click,
    create_topics,
    fill,
    impression,
    pipeline,
    running,
    until,
)
from benchmarks.join_state import state
from infra.kafka import PartitionReader, Producer
from infra.local.jars import flink_kafka_connector
from infra.local.stack import LocalStack
from infra.spec import Pipeline
from streaming import kafka_options, sql, topics
from streaming.planner import Planner
from streaming.sql import JoinPlan
from streaming.sql_text import create_table, identifier, interval

IMPRESSIONS = 400_000
# The second compiler is through with both jobs after some rounds, which do not count.
WARM_UP_ROUNDS, ROUNDS = 2, 3
# As a cluster that holds a join has it, and not as one for tests: both compilers, room for the state, and the collector
# for throughput (for a heap of many small objects that all live the other one takes much of two cores).
WORKER_OPTIONS = ("-Xms4g", "-Xmx4g", "-XX:TieredStopAtLevel=4", "-XX:-UseG1GC", "-XX:+UseParallelGC")
EVENTS_PER_SECOND = 2000
STEADY_SECONDS, WARM_UP_SECONDS = 20.0, 15.0


def bare(spec: Pipeline) -> JoinPlan:
    """What a person would write first: one interval left join, no repeats, nothing late, no dead letters."""
    connection = {**kafka_options.connection(spec.kafka, reveal=True), "scan.startup.mode": "earliest-offset"}
    json = {"format": "json", "json.timestamp-format.standard": "ISO-8601", "json.ignore-parse-errors": "true"}

    def source(name: str, topic: str, fields: tuple[str, ...]) -> str:
        columns = ["`id` STRING", *(f"{identifier(each)} STRING" for each in fields), "`ts` TIMESTAMP_LTZ(3)"]
        columns.append(f"WATERMARK FOR `ts` AS `ts` - {interval(spec.join.out_of_orderness)}")
        return create_table(name, columns, {**connection, **json, "topic": topic})

    shown, clicked = topics.user_topics(spec)
    texts = "".join(f"{identifier(each)} STRING, " for each in FIELDS)
    sink = create_table(
        "samples",
        [f"`id` STRING, {texts}`label` INT, `its` TIMESTAMP_LTZ(3), `cts` TIMESTAMP_LTZ(3)"],
        {
            **kafka_options.connection(spec.kafka, reveal=True),
            **{key: value for key, value in json.items() if "ignore" not in key},
            "topic": f"{spec.name}.bare",
            "properties.linger.ms": "5",
        },
    )
    fields = "".join(f"i.{identifier(each)}, " for each in FIELDS)
    insert = (
        f"INSERT INTO samples SELECT i.`id`, {fields}CASE WHEN c.`id` IS NULL THEN 0 ELSE 1 END,"
        " CAST(i.`ts` AS TIMESTAMP_LTZ(3)), CAST(c.`ts` AS TIMESTAMP_LTZ(3))\n"
        "FROM impressions AS i LEFT JOIN clicks AS c ON i.`id` = c.`id`\n"
        f"  AND c.`ts` BETWEEN i.`ts` AND i.`ts` + {interval(spec.join.window)}"
    )
    definitions = (source("impressions", shown, FIELDS), source("clicks", clicked, ()), sink)
    return replace(sql.plan(spec), definitions=definitions, insert=insert, plan_hash="bare")


def rows_per_second(plan: JoinPlan, spec: Pipeline, topic: str, planner: Planner) -> float:
    """Output from a fifth to nine tenths of what the topics lead to: long enough for collections and checkpoints."""
    with PartitionReader(spec.kafka, topic) as reader:

        def written() -> int:
            return sum(marks.high for marks in reader.watermarks().values())

        before = written()
        # The last window stays open: its negatives, an eighth of all, do not come.
        held = round(IMPRESSIONS * 0.25)
        moments = []
        with running(plan, spec, planner):
            for share in (0.2, 0.9):
                until(lambda share=share: written() - before >= share * (IMPRESSIONS - held), f"{share:.0%} of {topic}")
                moments.append((CLOCK.monotonic(), written()))
    (began, first), (ended, last) = moments
    return (last - first) / (ended - began)


def throughput(stack: LocalStack, planner: Planner) -> list[Figure]:
    """The full join and the bare one, by turns, over the same topics."""
    spec = pipeline("throughput", stack)
    create_topics(spec)
    # An hour of events: six windows, so that negatives leave while impressions come.
    fill(spec, IMPRESSIONS, CLOCK.now_ms() - 2 * 3_600_000, 3_600_000 // IMPRESSIONS)
    beat(spec, CLOCK.now_ms())
    full_rates, bare_rates = [], []
    for number in range(WARM_UP_ROUNDS + ROUNDS):
        bare_rates.append(rows_per_second(bare(spec), spec, f"{spec.name}.bare", planner))
        full_rates.append(rows_per_second(sql.plan(spec), spec, topics.samples(spec.name), planner))
        print(f"round {number + 1}: bare {bare_rates[-1]:,.0f}/s, full {full_rates[-1]:,.0f}/s", file=sys.stderr)
    full_rates, bare_rates = full_rates[WARM_UP_ROUNDS:], bare_rates[WARM_UP_ROUNDS:]
    full, plain = statistics.median(full_rates), statistics.median(bare_rates)
    load = f"{IMPRESSIONS:,} impressions, every {CLICKED}th clicked, parallelism 1, medians of {ROUNDS} by turns"
    ratio = statistics.median(ours / theirs for ours, theirs in zip(full_rates, bare_rates, strict=True))
    return [
        Figure("full_vs_bare_join", ratio, "", 0.5, ">=", f"one interval left join, {load}"),
        Figure("full_join_rows_per_s", full, "/s", None, ">=", load),
        Figure("bare_join_rows_per_s", plain, "/s", None, ">=", load),
    ]


def latency(stack: LocalStack, planner: Planner) -> list[Figure]:
    """From Kafka's timestamp of a click to that of its sample, under steady traffic."""
    spec = pipeline("latency", stack)
    create_topics(spec)
    shown, clicked = topics.user_topics(spec)
    producer = Producer(spec.kafka)
    stop = threading.Event()
    per_tick = EVENTS_PER_SECOND * CLICKED // (CLICKED + 1) // 50

    def traffic() -> None:
        begin = CLOCK.monotonic()
        for tick in itertools.count():
            now = CLOCK.now_ms()
            for number in range(tick * per_tick, (tick + 1) * per_tick):
                producer.send(shown, impression(number, now))
                if number % CLICKED == 0 and number >= 50 * per_tick:
                    producer.send(clicked, click(number - 50 * per_tick, now))
            if tick % 50 == 0:
                beat(spec, now)
            if CLOCK.wait(stop, max(0.0, begin + (tick + 1) / 50 - CLOCK.monotonic())):
                return

    with (
        running(sql.plan(spec), spec, planner),
        PartitionReader(spec.kafka, topics.samples(spec.name)) as reader,
    ):
        thread = threading.Thread(target=traffic)
        thread.start()
        try:
            CLOCK.sleep(WARM_UP_SECONDS)
            reader.assign(reader.positions_at("end"))
            delays = []
            deadline = CLOCK.monotonic() + STEADY_SECONDS
            while CLOCK.monotonic() < deadline:
                batch = reader.poll_batch(10_000, 0.1)
                for value, sampled in zip(batch.values, batch.timestamps_ms.tolist(), strict=True):
                    row = orjson.loads(value or b"{}")
                    if row.get("kind") == "click":
                        delays.append((sampled - received_ms(row["received_ts"])) / 1000)
        finally:
            stop.set()
            thread.join()
    if len(delays) < 100:
        raise SystemExit(f"{len(delays)} clicks came back, wanted 100")
    p50, p99 = statistics.median(delays), statistics.quantiles(delays, n=100)[98]
    load = f"{EVENTS_PER_SECOND:,} events/s for {STEADY_SECONDS:.0f} s, {len(delays):,} clicks, the stack beside it"
    return [
        Figure("click_to_sample_p99_s", p99, "s", 0.5, "<=", load),
        Figure("click_to_sample_p50_s", p50, "s", None, "<=", load),
    ]


def received_ms(text: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(text).timestamp() * 1000)


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    with (
        tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder,
        LocalStack(Path(folder) / "stack", worker_options=WORKER_OPTIONS) as stack,
        Planner(flink_kafka_connector(), clock=CLOCK) as planner,
    ):
        figures = [*throughput(stack, planner), *latency(stack, planner), *state(stack, planner)]
    return report("join", figures)


if __name__ == "__main__":
    sys.exit(main())
