"""Builds each tree as its Dockerfile does: the role starts with its extra alone, and two builds are the same."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from infra.clock import SystemClock
from infra.local.flink_settings import as_yaml
from infra.local.flink_settings import cluster as cluster_settings
from infra.local.java import java_executable
from infra.local.ports import HOST, free_ports
from tests.asking import HTTP
from tests.images.conftest import Images, fingerprint
from tests.infra.pipelines import GOOD
from tests.springtide.test_version_commands import Home

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800), pytest.mark.xdist_group("images")]

CLOCK = SystemClock()
START_S = 120.0
HEALTHY = 200
# Role -> its command, and what must not be there to be imported.
ROLES: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "join": (("join", "pipeline.yaml"), ("tensorflow", "keras", "starlette", "ai_edge_litert", "pytest")),
    "learner": (("learn", "pipeline.yaml", "--identity", "learner-0"), ("pyflink", "starlette", "pytest")),
    "serving": (("serve", "pipeline.yaml", "--name", "replica-0"), ("pyflink", "apache_beam", "pytest")),
    "page": (("dashboard", "pipeline.yaml"), ("pyflink", "tensorflow", "keras", "grpc", "pytest")),
}


def pipeline(folder: Path) -> dict[str, int]:
    """Writes a right pipeline whose servers are not there; role -> the port at which it will answer."""
    ports = dict(zip(("learner", "serving", "page", "join", "kafka", "flink"), free_ports(6), strict=True))
    text = GOOD[: GOOD.index("store:")].replace("9092", str(ports["kafka"]))
    text = text.replace("port: 8600", f"port: {ports['learner']}")
    text += f"flink: {{rest: 'http://127.0.0.1:{ports['flink']}'}}\nstore: {{url: 'file://{folder}/store'}}\n"
    text += f"serving: {{port: {ports['serving']}}}\ncontrol: {{port: {ports['join']}}}\n"
    text += f"dashboard: {{port: {ports['page']}, history: '{folder}/history.sqlite'}}\n"
    (folder / "pipeline.yaml").write_text(text, "utf-8")
    return ports


def bare(tree: Path, folder: Path) -> dict[str, str]:
    """The environment of an image: its own programs, Java, and a folder to write to."""
    path = f"{tree / 'bin'}:{Path(java_executable()).parent}:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(folder), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def answers(address: str) -> bool:
    try:
        return HTTP.get(address, timeout=2.0).status_code == HEALTHY
    except httpx.TransportError:
        return False


def await_answer(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = CLOCK.monotonic() + START_S
    while not answers(address):
        assert process.poll() is None and CLOCK.monotonic() < deadline, log.read_text("utf-8", "replace")[-3000:]
        CLOCK.sleep(0.1)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_starts_with_its_extra_alone(role: str, images: Images, tmp_path: Path) -> None:
    tree = images.tree(role)
    command, foreign = ROLES[role]
    ports = pipeline(tmp_path)
    environment = bare(tree, tmp_path)
    ask = f"import importlib.util as u, json; print(json.dumps([n for n in {list(foreign)!r} if u.find_spec(n)]))"
    found = subprocess.run([tree / "bin/python", "-c", ask], env=environment, check=True, capture_output=True)
    assert json.loads(found.stdout) == []
    before = fingerprint(tree)
    log = tmp_path / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [tree / "bin/springtide", *command],
            cwd=tmp_path,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            await_answer(f"http://{HOST}:{ports[role]}/healthz", process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in {0, -signal.SIGTERM}, log.read_text("utf-8", "replace")[-3000:]
    assert "ModuleNotFoundError" not in log.read_text("utf-8", "replace")
    # The root of the container is read-only: nothing may want to write beside the code.
    assert fingerprint(tree) == before


def test_the_compactor_works_in_the_image_of_the_page(images: Images, tmp_path: Path) -> None:
    tree, home = images.tree("page"), Home(tmp_path)
    for command, told in (("compact", "base of version 6: 5 deltas"), ("verify", "ok")):
        done = subprocess.run(
            [tree / "bin/springtide", command, home.file, *(["--once"] if command == "compact" else [])],
            cwd=tmp_path,
            env=bare(tree, tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 and told in done.stdout, done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_every_module_is_compiled_and_never_checked_again(role: str, images: Images) -> None:
    tree = images.tree(role)
    compiled = list(tree.glob("lib/python3.*/site-packages/springtide/__pycache__/*.pyc"))
    written = list(tree.glob("lib/python3.*/site-packages/springtide/*.py"))
    assert len(compiled) == len(written) > 0
    # Bits 0 and 1 of the flags: by hash, and unchecked (PEP 552).
    assert {int.from_bytes(path.read_bytes()[4:8], "little") for path in compiled} == {1}


@pytest.mark.parametrize("role", [*ROLES, "flink"])
def test_two_builds_are_the_same_byte_for_byte(role: str, images: Images) -> None:
    first = fingerprint(images.tree(role))
    second = fingerprint(images.tree(role, anew=True))
    different = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    assert different == []


def test_the_wheel_is_the_same_from_another_folder(images: Images) -> None:
    assert fingerprint(images.wheels("source")) == fingerprint(images.wheels("elsewhere"))


@pytest.mark.stack
def test_flinks_scripts_start_a_cluster_from_its_tree(images: Images, tmp_path: Path) -> None:
    tree = images.tree("flink")
    assert [path.name for path in tree.glob("plugins/s3/*.jar")] == ["flink-s3-fs-native-2.3.0.jar"]
    assert list(tree.glob("lib/flink-sql-connector-kafka-*.jar")) and (tree / "opt/springtide-events.jar").is_file()
    rest, rpc, blob = free_ports(3)
    (tmp_path / "conf").mkdir()
    settings = cluster_settings(tmp_path, rest, rpc, blob, 1) | {
        "jobmanager.memory.process.size": "1600m",
        "rest.address": HOST,
        # Without the plugin the JobManager ends at its start.
        "execution.checkpointing.dir": "s3://bucket/checkpoints",
        "s3.access-key": "a",
        "s3.secret-key": "b",
        "s3.region": "us-east-1",
    }
    (tmp_path / "conf/config.yaml").write_text(as_yaml(settings), "utf-8")
    environment = bare(tree, tmp_path) | {
        "JAVA_HOME": str(Path(java_executable()).resolve().parents[1]),
        "FLINK_CONF_DIR": str(tmp_path / "conf"),
        "FLINK_PLUGINS_DIR": str(tree / "plugins"),
        "FLINK_LOG_DIR": str(tmp_path / "log"),
        "FLINK_PID_DIR": str(tmp_path / "pid"),
    }
    before = fingerprint(tree)
    said = tmp_path / "said"
    with said.open("wb") as output:
        started = [
            subprocess.Popen(
                [tree / "bin" / name, "start-foreground"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            for name in ("jobmanager.sh", "taskmanager.sh")
        ]
        try:
            await_answer(f"http://{HOST}:{rest}/overview", started[0], said)
            deadline = CLOCK.monotonic() + START_S
            while not HTTP.get(f"http://{HOST}:{rest}/taskmanagers").json()["taskmanagers"]:
                assert CLOCK.monotonic() < deadline, said.read_text("utf-8", "replace")[-3000:]
                CLOCK.sleep(0.2)
        finally:
            for process in started:
                os.killpg(process.pid, signal.SIGTERM)
            for process in started:
                process.wait(60)
    assert fingerprint(tree) == before
