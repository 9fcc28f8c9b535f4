"""Every pod of the chart's first example runs here from its manifest alone, and the loop that they make is fresh."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import re
import shutil
import socket
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import helm_python
import httpx
import pytest

from infra.clock import SystemClock
from tests.asking import HTTP
from tests.helm.conftest import merged, render, values_of
from tests.helm.machine import Machine, RunningPod

pytestmark = [
    pytest.mark.long,
    pytest.mark.stack,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None,
        reason="wants Linux's namespaces, and root to mount in them",
    ),
]

# On two cores everything starts at once: four JVMs that plan or run Flink, and TensorFlow three times.
READY_SECONDS = 600.0
TOLD_SECONDS = 60.0
PROBES = 20
FRESH_SECONDS = 1.5


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, chart: helm_python.Chart) -> Iterator[Machine]:
    canary = {"canary": {"enabled": True, "every": "5s"}}
    release = render(chart, merged(values_of("quickstart"), canary), "springtide")
    machine = Machine(release, tmp_path_factory.mktemp("machine"))
    try:
        machine.start()
        until_ready(machine)
        yield machine
    finally:
        machine.stop()


def answers(pod: RunningPod, how: str, path: str, port: int) -> bool:
    try:
        if how == "tcp":
            socket.create_connection((pod.address, port), timeout=5).close()
            return True
        return HTTP.get(f"http://{pod.address}:{port}{path}", timeout=5).is_success
    except (OSError, httpx.TransportError):
        return False


def until_ready(machine: Machine) -> None:
    """What is not there yet is waited for inside each process, the user's own topics too: none ends."""
    clock = SystemClock()
    deadline = clock.monotonic() + READY_SECONDS
    waiting = {(pod.name, kind) for pod in machine.pods.values() for kind in pod.probes()}
    while waiting:
        for pod in machine.pods.values():
            if not pod.process.alive:
                raise pod.process.failure(f"ended with {pod.process.exit_code}")
        waiting = {
            (name, kind)
            for name, kind in waiting
            if not answers(machine.pods[name], *machine.pods[name].probes()[kind])
        }
        assert clock.monotonic() < deadline, f"not ready: {sorted(waiting)}"
        clock.sleep(1)


def test_every_pod_runs_and_answers_its_probes(machine: Machine) -> None:
    roles = [pod.role for pod in machine.pods.values()]
    assert sorted(roles) == sorted(
        ["kafka", "store", "events", "flink-jobmanager", "flink-taskmanager", "join", "learner", "compactor", "page"]
        + ["canary"]
        + ["replicas"] * 2
    )
    assert all(pod.process.alive for pod in machine.pods.values())
    for pod in machine.pods.values():
        assert all(answers(pod, *probe) for probe in pod.probes().values()), pod.name


def test_nobody_runs_as_root_with_rights_or_writes_where_he_may_not(machine: Machine) -> None:
    """So that a pod of the restricted standard can do its work was shown by all of this module."""
    for pod in machine.pods.values():
        status = Path(f"/proc/{pod.process.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status
        inner = Path(f"/proc/{pod.process.pid}/uid_map").read_text().split()
        assert inner[0] == "10001"
        mounted = Path(f"/proc/{pod.process.pid}/mountinfo").read_text().splitlines()
        (root,) = [line for line in mounted if line.split()[4] == "/"]
        assert root.split()[5].startswith("ro") or " ro," in root, root


def test_helms_tests_pass(machine: Machine) -> None:
    doctor = machine.run("springtide-test-doctor", seconds=180)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    probe = machine.run("springtide-test-probe", seconds=180)
    assert probe.returncode == 0, probe.stdout + probe.stderr


def test_a_click_is_in_every_replica_soon(machine: Machine) -> None:
    file = "/etc/springtide/config/pipeline.yaml"
    words = ["probe", file, "--count", str(PROBES), "--timeout", "60", "-o", "json"]
    ran = machine.run("springtide-test-probe", *words, seconds=600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = json.loads(ran.stdout)
    seconds = sorted(row["seconds"] for row in rows)
    print(f"probe: median {statistics.median(seconds):.2f} s, max {seconds[-1]:.2f} s, of {len(seconds)}")  # noqa: T201
    assert all(len(row["applied_ms"]) == 2 for row in rows)
    assert statistics.median(seconds) <= FRESH_SECONDS


def test_the_page_is_live_and_knows_every_replica(machine: Machine) -> None:
    (page,) = machine.of("page")
    base = f"http://{page.address}:8080"
    assert "Springtide" in HTTP.get(f"{base}/").text
    wanted = {pod.name for pod in machine.of("replicas")}
    until_told(f"{base}/metrics", lambda text: all(name in text for name in wanted), "of every replica")


def test_the_canary_tells_how_long_its_clicks_took(machine: Machine) -> None:
    (canary,) = machine.of("canary")
    _, path, port = canary.probes()["readiness"]
    assert path == "/readyz"
    counted = re.compile(r"^springtide_probe_seconds_count(\{.*\})? [1-9]", re.MULTILINE)
    until_told(f"http://{canary.address}:{port}/metrics", lambda text: bool(counted.search(text)), "of a click")


def until_told(metrics: str, told: Callable[[str], bool], what: str) -> None:
    clock, deadline = SystemClock(), SystemClock().monotonic() + TOLD_SECONDS
    while not told(HTTP.get(metrics).text):
        assert clock.monotonic() < deadline, f"{metrics} does not tell {what}"
        clock.sleep(1)


def test_no_pod_holds_more_than_it_may(machine: Machine) -> None:
    shares = {pod.name: pod.memory_share() for pod in machine.pods.values()}
    print({name: f"{share:.0%}" for name, share in shares.items()})  # noqa: T201
    assert all(share < 0.95 for share in shares.values()), shares


def test_told_to_end_each_leaves_within_its_grace(machine: Machine) -> None:
    """Last in this module: nothing runs after it."""
    for role in ("events", "compactor", "page", "canary", "replicas", "learner", "join"):
        for pod in machine.of(role):
            # Killed after its grace time it would end otherwise. A canary says by 1 that a click was lost: there was
            # no loop yet when it began.
            assert pod.process.terminate() in ((0, 1) if role == "canary" else (0,)), pod.name
            assert "Traceback" not in pod.process.log.read_text("utf-8", "replace"), pod.name
