"""A replay of days from a moment on: what came before stays out, and no topic runs far ahead of the other."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from infra.clock import iso
from infra.kafka import KafkaAdmin
from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming import topics
from streaming.planner import Planner
from tests.streaming.controlled import CLOCK, READY_S, await_true
from tests.streaming.events import Stream
from tests.streaming.running import running_join
from tests.streaming.truth import JOIN

pytestmark = pytest.mark.long

CLICKS, CLICK_STEP_S = 10_000, 20
LENGTH_S = CLICKS * CLICK_STEP_S
IMPRESSION_STEP_S = 600
CUTOVER_S = 7200
# The impressions stop here at first.
FIRST_S = 14_400
# Each topic is told once a second how far the others are, later on a busy machine: a topic that is read as fast as the
# machine can would be through before that.
AT_A_TIME, PAUSE_S = 100, 0.2


@pytest.fixture(scope="module")
def stream(local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner) -> Iterator[Stream]:
    """A job that begins with a moment of days ago."""
    # A topic that has fallen silent is waited for longer than the test takes.
    join = {**JOIN, "idle_timeout": "600s"}
    with running_join(
        local_kafka, local_flink, planner, "replay", join=join, age_ms=2 * LENGTH_S * 1000, cutover_s=CUTOVER_S
    ) as found:
        yield found


def send(stream: Stream, topic: int, key: str, seconds: float) -> None:
    """An event that was received when it happened."""
    moment = stream.base_ms + round(seconds * 1000)
    body = orjson.dumps({"id": key, "ts": iso(moment)})
    stream.producer.send(topics.user_topics(stream.pipeline)[topic], body, timestamp_ms=moment)


def test_a_replay_from_a_timestamp_holds_the_topic_back_that_is_ahead(stream: Stream) -> None:
    name = stream.pipeline.name
    clicks = topics.user_topics(stream.pipeline)[1]
    admin = KafkaAdmin(stream.pipeline.kafka)

    def read() -> int:
        return admin.group_offsets(f"springtide.{name}.join").get((clicks, 0), 0)

    def click(numbers: range) -> None:
        for number in numbers:
            send(stream, 1, f"i{number * CLICK_STEP_S}", number * CLICK_STEP_S + 1.0)

    # A job that has just begun lets each topic run until it has heard of both.
    first = FIRST_S // CLICK_STEP_S
    for second in range(0, FIRST_S, IMPRESSION_STEP_S):
        send(stream, 0, f"i{second}", float(second))
    click(range(first))
    stream.heartbeat(LENGTH_S + 3600.0)
    stream.producer.flush()
    await_true(lambda: read() == first, "the first clicks read", READY_S)
    for number in range(first, CLICKS, AT_A_TIME):
        click(range(number, min(number + AT_A_TIME, CLICKS)))
        stream.producer.flush()
        CLOCK.sleep(PAUSE_S)

    seen: list[int] = []

    def stands() -> bool:
        seen.append(read())
        CLOCK.sleep(1.0)
        # Three checkpoints at least.
        return len(seen) > 7 and first < seen[-7] == seen[-1]

    await_true(stands, "the clicks held back", READY_S)
    assert seen[-1] < CLICKS / 2

    shown = range(FIRST_S, LENGTH_S, IMPRESSION_STEP_S)
    for second in shown:
        send(stream, 0, f"i{second}", float(second))
    send(stream, 0, "last", LENGTH_S + 60.0)
    stream.producer.flush()
    wanted = {f"i{second}#click.0" for second in range(CUTOVER_S, LENGTH_S, IMPRESSION_STEP_S)}
    stream.until(lambda: {row["sample_id"] for row in stream.samples} >= wanted, "every positive", READY_S)
    assert {row["kind"] for row in stream.samples} == {"click"}
    assert {row["sample_id"] for row in stream.samples} == wanted
    await_true(lambda: read() == CLICKS, "all clicks read", READY_S)
