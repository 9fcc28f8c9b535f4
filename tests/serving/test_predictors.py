"""Several predictors of one replica, as real processes: one's end is no other's, and what has ended comes back."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from infra.object_store import ObjectStore
from infra.spec import Pipeline
from tests.asking import HTTP
from tests.serving.model import Model, make_columns, make_pipeline
from tests.serving.test_replica_process import CLOCK, PREDICT, WITHIN_S, Process

PREDICTORS = 2


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    serving = {"max_candidates": 64, "predictors": PREDICTORS, "grpc_port": 0}
    return make_pipeline(tmp_path.as_uri(), serving=serving)


@pytest.fixture
def replica(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(pipeline, tmp_path_factory.mktemp("replica"))
    yield process
    process.end()


def descendants(process: int) -> dict[str, int]:
    """Names and numbers of what a process has started, and of what that has."""
    found = {}
    for child in map(int, Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()):
        found[Path(f"/proc/{child}/comm").read_text(encoding="ascii").strip()] = child
        found |= descendants(child)
    return found


class Asking:
    """A client that opens a connection for each question, as balancers may."""

    def __init__(self, replica: Process, model: Model) -> None:
        with replica.client() as client:
            self.url = f"{client.base_url}/"
        self.replica = replica
        self.model = model
        self.expected = {1: np.empty(0, np.float32)}
        self.columns = make_columns(10, 5)

    def commit(self, seed: int) -> int:
        """A version, and what it answers."""
        number = self.model.commit(seed).version
        self.expected[number] = self.model.expected(self.columns)[:, 0]
        return number

    def get(self, path: str) -> httpx.Response:
        return HTTP.get(self.url + path)

    def ask(self) -> int:
        """Asks once, checks the answer, and returns the version that gave it."""
        response = HTTP.post(self.url + PREDICT.removeprefix("/"), json={"inputs": self.columns})
        version = int(response.headers["X-Springtide-Version"])
        np.testing.assert_allclose(response.json()["outputs"], self.expected[version], rtol=0, atol=2e-6)
        return version

    def ask_for(self, version: int) -> list[int]:
        """Asks until that version answers; returns all versions that did."""
        seen: list[int] = []

        def answers() -> bool:
            seen.append(self.ask())
            return seen[-1] == version

        self.replica.until(answers)
        assert seen == sorted(seen)
        return seen

    def metric(self, name: str) -> float:
        lines = self.get("metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_what_ends_is_started_again_and_the_others_go_on(replica: Process, model: Model, store: ObjectStore) -> None:
    asking = Asking(replica, model)
    replica.until(lambda: asking.get("readyz").status_code == 503)
    first = asking.commit(1)
    replica.until(lambda: asking.get("readyz").status_code == 200)
    replica.until(lambda: asking.metric("springtide_replica_predictors") == PREDICTORS)
    asking.ask_for(first)
    begun = descendants(replica.process.pid)
    assert {"follower", "predictor-0", "predictor-1"} <= begun.keys()
    cores = [os.sched_getaffinity(begun[f"predictor-{number}"]) for number in range(PREDICTORS)]
    assert len(os.sched_getaffinity(0)) == 1 or not set.intersection(*cores)

    # A predictor dies: whoever was connected to it asks again, and nobody sees another version than before.
    os.kill(begun["predictor-0"], signal.SIGKILL)
    replica.until(lambda: asking.ask() == first)
    replica.until(lambda: descendants(replica.process.pid).get("predictor-0") not in {None, begun["predictor-0"]})
    replica.until(lambda: asking.metric("springtide_replica_predictors") == PREDICTORS)
    second = asking.commit(2)
    asking.ask_for(second)
    assert asking.metric('springtide_replica_restarts_total{process="predictor"}') == 1

    # The follower dies, again and again where it applies: the last version answers on, and then the newest does.
    killed: set[int | None] = {None}
    for seed in (3, 4):
        replica.until(lambda: descendants(replica.process.pid).get("follower") not in killed)
        follower = descendants(replica.process.pid)["follower"]
        killed.add(follower)
        newest = asking.commit(seed)
        CLOCK.sleep(0.01 * seed)  # somewhere between seeing the version and having switched to it
        os.kill(follower, signal.SIGKILL)
        assert asking.ask() in {newest - 1, newest}
        asking.ask_for(newest)
    replica.until(lambda: asking.get("status").json()["trouble"] is None)
    replica.until(lambda: asking.metric('springtide_replica_restarts_total{process="follower"}') == 2)
    ended = [event["process"] for event in replica.events() if event["event"] == "replica_process_ended"]
    assert ended == ["predictor-0", "follower", "follower"]
    assert asking.metric("springtide_replica_version ") == newest

    # Told to leave, all leave; killed, nobody is left behind.
    left = descendants(replica.process.pid)
    replica.process.send_signal(signal.SIGTERM)
    assert replica.process.wait(WITHIN_S) == 0
    deadline = CLOCK.monotonic() + WITHIN_S
    while any(Path(f"/proc/{process}").exists() for process in left.values()):
        assert CLOCK.monotonic() < deadline
        CLOCK.sleep(0.02)
