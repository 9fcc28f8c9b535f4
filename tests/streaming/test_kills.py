"""JobManager and TaskManager killed at random times: no sample is lost, and where promised none doubled."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from infra.clock import new_uuid
from infra.local.stack import LocalStack
from infra.spec import Pipeline
from streaming import sql
from streaming.flink_rest import FlinkRest
from tests.streaming.controlled import CLOCK, READY_S, Running, bucket, repeats, send
from tests.streaming.events import Stream
from tests.streaming.pipelines import pipeline

# Each kill costs a restart of both jobs: three minutes on two quiet cores.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

DELIVERIES = ("at_least_once", "exactly_once")
PER_TICK, TICK_S = 5, 0.2
KILLS = 3
LONGEST_S = 12.0


@pytest.fixture
def specs(local_stack: LocalStack) -> Iterator[dict[str, Pipeline]]:
    """A pipeline of each delivery, on one cluster, so that both see the same kills."""
    found = {
        delivery: pipeline(
            f"kills-{new_uuid()[:8]}",
            kafka={"bootstrap": local_stack.kafka.bootstrap},
            join={"window": "2s", "correction_window": "10s", "out_of_orderness": "3s", "idle_timeout": "10s"},
            control={"port": 0, "heartbeat_interval": "200ms"},
            flink={"rest": local_stack.flink.rest, "checkpoint_interval": "1s"},
            samples={"delivery": delivery},
            store=bucket(local_stack),
        )
        for delivery in DELIVERIES
    }
    yield found
    with FlinkRest(local_stack.flink.rest) as cluster:
        for spec in found.values():
            for job in cluster.jobs(sql.job_prefix(spec.name)):
                cluster.cancel(job.id)


@pytest.mark.parametrize("seed", [1, 2])
def test_no_sample_is_lost_and_none_doubled_for_a_reader_of_what_is_committed(
    local_stack: LocalStack, specs: dict[str, Pipeline], seed: int
) -> None:
    """The readers of these tests see committed records only."""
    drawn = random.Random(seed)
    victims = [drawn.choice(("job_manager", "task_manager")) for _ in range(KILLS)]
    if len(set(victims)) == 1:
        victims[0] = ({"job_manager", "task_manager"} - set(victims)).pop()
    with ExitStack() as stack:
        streams = {delivery: Stream(spec, CLOCK.now_ms()) for delivery, spec in specs.items()}
        for stream in streams.values():
            stack.callback(stream.close)
        running = {delivery: Running(spec, stop_job=True) for delivery, spec in specs.items()}
        for each in running.values():
            stack.callback(each.leave)
        for each in running.values():
            each.await_ready()
        more = threading.Event()
        sent: dict[str, set[str]] = {delivery: set() for delivery in specs}

        def traffic() -> None:
            number = 0
            while not CLOCK.wait(more, TICK_S):
                for delivery, stream in streams.items():
                    sent[delivery] |= send(stream, range(number, number + PER_TICK))
                number += PER_TICK

        thread = threading.Thread(target=traffic)
        thread.start()
        try:
            for delivery, stream in streams.items():
                first = {f"k{number}#click.0" for number in range(20)}
                await_verdicts(stream, first, f"{delivery}: the first verdicts")
            for victim in victims:
                CLOCK.sleep(drawn.uniform(0.0, LONGEST_S))
                getattr(local_stack.flink, f"kill_{victim}")()
                CLOCK.sleep(drawn.uniform(0.0, 2.0))
                getattr(local_stack.flink, f"start_{victim}")()
            for each in running.values():
                each.await_ready()
        finally:
            more.set()
            thread.join()
            local_stack.flink.start()
        for delivery, stream in streams.items():
            await_verdicts(stream, sent[delivery], f"{delivery}: every verdict after {victims}")
            assert repeats(stream) == 1
            assert stream.late == stream.dead == []
        counted = Counter(row["sample_id"] for row in streams["exactly_once"].samples)
        assert max(counted.values()) == 1


def await_verdicts(stream: Stream, wanted: set[str], what: str) -> None:
    stream.until(lambda: {row["sample_id"] for row in stream.samples} >= wanted, what, READY_S)
