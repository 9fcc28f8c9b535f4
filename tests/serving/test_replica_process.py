"""A replica as a real process: not ready before its first version, killed and back, drained, one port each."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from infra.clock import SystemClock
from infra.errors import Invalid
from infra.local.s3_server import S3Server
from infra.spec import Pipeline, Secret, Store
from serving.run import run_replica
from tests.serving.model import Model, make_columns, make_pipeline
from tests.serving.replica_process import make_parts

CLOCK = SystemClock()
WITHIN_S = 60.0
PREDICT = "/v1/models/demo:predict"


class Process:
    """A replica and how a client reaches it."""

    def __init__(self, pipeline: Pipeline, folder: Path, port: int = 0, ahead_s: float = 0) -> None:
        file = folder / "pipeline.json"
        file.write_text(pipeline.model_dump_json())
        self.log = folder / f"replica-{CLOCK.monotonic()}.log"
        with self.log.open("wb") as log:
            words = ["--", str(file), "replica-0", str(port), str(ahead_s)]
            self.process = subprocess.Popen([sys.executable, "-m", "tests.serving.replica_process", *words], stderr=log)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = CLOCK.monotonic() + WITHIN_S
        while True:
            try:
                found = condition()
            except httpx.TransportError:
                found = None
            if found:
                return found
            assert self.process.poll() is None, self.log.read_text()
            assert CLOCK.monotonic() < deadline, self.log.read_text()
            CLOCK.sleep(0.02)

    def client(self) -> httpx.Client:
        def listening() -> list[int]:
            return [event["port"] for event in self.events() if event["event"] == "replica_listening"]

        (port,) = self.until(listening)
        return httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def start(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def launch(port: int = 0) -> Process:
        started.append(Process(pipeline, tmp_path_factory.mktemp("replica"), port))
        return started[-1]

    yield launch
    for process in started:
        process.end()


def check(client: httpx.Client, model: Model, seed: int) -> None:
    columns = make_columns(10, seed)
    response = client.post(PREDICT, json={"inputs": columns})
    assert response.headers["X-Springtide-Version"] == str(model.writer.version)
    np.testing.assert_allclose(response.json()["outputs"], model.expected(columns)[:, 0], rtol=0, atol=2e-6)


def test_life_of_a_replica(start: Callable[..., Process], model: Model) -> None:
    first = start()
    with first.client() as client:
        # Alive, but not ready before the first version; the claim is none.
        first.until(lambda: client.get("/healthz").status_code == 200)
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"ready": False, "reason": "no version applied yet"})
        assert client.get("/v2/health/ready").status_code == 503
        empty = client.get("/status").json()
        assert (empty["version"], empty["applied"], empty["ready"]) == (None, [], False)

        manifest = model.commit(1)
        first.until(lambda: client.get("/readyz").status_code == 200)
        check(client, model, seed=5)
        # What the follower has written down comes a moment after the answers.
        status = first.until(lambda: found if (found := client.get("/status").json())["applied"] else None)
        (applied,) = status.pop("applied")
        assert status == {
            "role": "replica",
            "model": "demo",
            "name": "replica-0",
            "version": 2,
            "ready": True,
            "trouble": None,
            "pinned": None,
        }
        assert (applied["version"], applied["committed_ts"]) == (2, manifest.created_ts)
        assert manifest.created_ts <= applied["applied_ts"] <= CLOCK.now_ms()
        page = client.get("/metrics").text
        assert "springtide_replica_version 2.0" in page
        assert 'springtide_replica_requests_total{code="200",protocol="v1"} 1.0' in page
        assert client.base_url.port is not None
        port: int = client.base_url.port

        refuse_a_second_one(model.pipeline, port)
        check(client, model, seed=6)

    first.process.kill()
    first.process.wait()
    model.commit(2)
    third = start(port)
    with third.client() as client:
        third.until(lambda: client.get("/readyz").status_code == 200)
        check(client, model, seed=7)
        leave_in_the_middle_of_a_request(third, client, port)


def run_here(pipeline: Pipeline, port: int) -> None:
    """A replica that is expected not to get as far as its processes."""
    run_replica(make_parts(pipeline, "replica-1"), "127.0.0.1", port, threading.Event())


def refuse_a_second_one(pipeline: Pipeline, port: int) -> None:
    with pytest.raises(Invalid, match=f"port {port} is in use") as raised:
        run_here(pipeline, port)
    assert raised.value.exit_code == 2


def leave_in_the_middle_of_a_request(replica: Process, client: httpx.Client, port: int) -> None:
    body = json.dumps({"inputs": make_columns(4)}).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head + body[:50])
        assert client.get("/readyz").status_code == 200
        asked = CLOCK.monotonic()
        replica.process.send_signal(signal.SIGTERM)
        replica.until(lambda: client.get("/readyz").status_code == 503)
        replica.until(lambda: refused(port))
        connection.sendall(body[50:])
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    # The rest is the interpreter's exit, which a busy machine may stretch.
    assert CLOCK.monotonic() - asked < 5
    assert replica.process.wait(WITHIN_S) == 0
    # Every line on standard error is an event of ours: no note of TensorFlow's or the web server's.
    events = [event["event"] for event in replica.events()]
    assert events == ["replica_listening", "replica_ready", "replica_draining"]


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_wrong_secret_ends_the_replica(local_store: S3Server, unique: Callable[[str], str]) -> None:
    store = Store(
        url=f"s3://{local_store.bucket}/{unique('serving')}",
        endpoint=local_store.endpoint,
        region=local_store.region,
        access_key=Secret(value=local_store.access_key),
        secret_key=Secret(value="wrong"),
    )
    with pytest.raises(Invalid, match="secret key") as raised:
        run_here(make_pipeline().model_copy(update={"store": store}), port=0)
    assert raised.value.exit_code == 2
    assert raised.value.cure
