"""Kafka, the S3 server or a TaskManager killed and restarted: the loop goes on, nothing lost, nothing doubled."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest

from infra.errors import Unavailable
from infra.local.stack import LocalStack
from springtide.probe import Prober
from tests.loop.conftest import RunningLoop

Server = Literal["kafka", "s3", "task manager"]
# Longer than a commit interval and a heartbeat, so that everybody notices.
AWAY_SECONDS = 3.0
# Kafka's outage is everybody's.
LONG = pytest.mark.long


def outage(stack: LocalStack, server: Server) -> tuple[Callable[[], None], Callable[[], None]]:
    """How to kill the server and how to bring it back."""
    if server == "kafka":
        return stack.kafka.kill, stack.kafka.start
    if server == "s3":
        return stack.s3.kill, stack.s3.start
    return stack.flink.kill_task_manager, stack.flink.start_task_manager


def learned(prober: Prober) -> bool:
    """Whether a probe sent now is learned; while topics come back one after the other it may come too late to be."""
    try:
        prober.probe(timeout=6)
    except Unavailable:
        return False
    return True


@pytest.mark.timeout(420)
@pytest.mark.parametrize("server", ["kafka", pytest.param("s3", marks=LONG), pytest.param("task manager", marks=LONG)])
def test_the_loop_goes_on_after_an_outage(running: RunningLoop, server: Server) -> None:
    kill, start = outage(running.stack, server)
    running.start_traffic()
    with Prober(running.pipeline, running.store, running.clock) as prober:
        prober.probe(timeout=60)
        kill()
        running.clock.sleep(AWAY_SECONDS)
        start()
        running.until(lambda: learned(prober), 150, "a probe after the outage")
    running.stop_traffic()
    running.assert_nothing_lost()
    assert not list(running.loop.dead()), "no process may end because a server was away"
