"""Killed learners and replicas come back from the store; every sample is learned exactly once."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import httpx
import pytest

from checkpointing.history import newest_version
from tests.asking import HTTP
from tests.learner.stream import assert_replay_equals
from tests.loop.conftest import ITEMS, RunningLoop

KILLS = 3
SEED = 20_260


def version_at(address: str) -> int:
    return int(HTTP.get(f"{address}/status").json()["version"])


@pytest.mark.long  # tests/learner/test_crash.py kills learners in `make test`
@pytest.mark.timeout(420)
def test_a_learner_killed_at_random_points_learns_every_sample_once(running: RunningLoop) -> None:
    chance = random.Random(SEED)
    running.start_traffic()
    for _ in range(KILLS):
        running.await_versions(2)
        running.clock.sleep(chance.uniform(0.0, 1.0))  # a random point of the commit interval is what is tested
        running.loop.processes["learner"].kill()
        running.loop.restart("learner")
    running.stop_traffic()
    running.assert_nothing_lost()
    # Every version that this folder's tests have made so far, through Flink, Kafka and S3.
    newest = newest_version(running.store)
    assert newest is not None
    state = assert_replay_equals(running.pipeline, running.store, newest)
    assert len(state["rows/item/keys"]) >= ITEMS


@pytest.mark.timeout(300)
def test_a_killed_replica_comes_back_from_the_store(running: RunningLoop) -> None:
    name = running.loop.replicas[0]
    address = running.loop.addresses[name]
    running.start_traffic()
    running.loop.processes[name].kill()
    with pytest.raises(httpx.TransportError):
        HTTP.get(f"{address}/readyz")
    running.loop.restart(name)
    newest = newest_version(running.store) or 0
    running.until(lambda: version_at(address) >= newest, 20, "the replica to catch up")
    running.stop_traffic()
    running.assert_nothing_lost()
