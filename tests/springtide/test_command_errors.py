"""What a person gets to read when something is wrong: the place, the cure, the exit code; no stack trace."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.errors import Invalid
from infra.kafka import KafkaAdmin, TopicSettings
from infra.local.stack import LocalStack
from infra.pipeline_file import dump_pipeline
from infra.spec import Pipeline
from springtide.local_pipeline import Ports, local_pipeline
from tests.loop.conftest import DOCUMENT

SECONDS = 60


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that ends without TensorFlow, which would take most of its time."""
    started = [sys.executable, "-X", "importtime", "-m", "springtide", *words]
    run = subprocess.run(started, capture_output=True, text=True, timeout=SECONDS, check=False)
    lines = run.stderr.splitlines(keepends=True)
    imports = [line for line in lines if line.startswith("import time:")]
    assert imports and not [line for line in imports if line.rpartition("|")[2].strip() == "tensorflow"]
    run.stderr = "".join(line for line in lines if line not in imports)
    return run


def complaint(run: subprocess.CompletedProcess[str]) -> str:
    text = run.stdout + run.stderr
    assert "Traceback" not in text, text
    return text


Make = Callable[[], tuple[Pipeline, Path]]


@pytest.fixture
def make(local_stack: LocalStack, tmp_path: Path, unique: Callable[[str], str]) -> Make:
    """Writes a right pipeline.yaml for the running stack, which a test then makes wrong."""

    def write() -> tuple[Pipeline, Path]:
        pipeline = local_pipeline(DOCUMENT, name=unique("errors"), stack=local_stack, home=tmp_path, ports=Ports.free())
        path = tmp_path / "pipeline.yaml"
        path.write_text(dump_pipeline(pipeline), encoding="utf-8")
        return pipeline, path

    return write


def create_topics(pipeline: Pipeline) -> None:
    names = [pipeline.events.impressions.topic, pipeline.events.feedback[0].topic]
    KafkaAdmin(pipeline.kafka).ensure_topics([TopicSettings(name) for name in names])


def test_an_unknown_key_is_named_with_its_place_and_the_nearest(make: Make) -> None:
    _, path = make()
    text = path.read_text(encoding="utf-8").replace("  window:", "  windw:")
    path.write_text(text, encoding="utf-8")
    line = next(number for number, row in enumerate(text.splitlines(), 1) if "windw:" in row)
    run = command("check", str(path))
    assert run.returncode == Invalid.exit_code
    assert f"pipeline.yaml:{line}:3  join.windw: unknown key; nearest is `window`" in complaint(run)


def test_a_missing_topic_is_named_with_the_nearest_and_waited_for(make: Make) -> None:
    pipeline, path = make()
    create_topics(pipeline)
    topic = pipeline.events.feedback[0].topic
    path.write_text(path.read_text(encoding="utf-8").replace(f"topic: {topic}", f"topic: {topic[:-1]}"), "utf-8")
    words = [sys.executable, "-m", "springtide", "join", str(path)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as join:
        killer = threading.Timer(SECONDS, join.kill)
        killer.start()
        assert join.stderr is not None
        told = next((line for line in join.stderr if "not found" in line), "")
        assert f"topic `{topic[:-1]}` not found; nearest `{topic}`" in told and "correct the pipeline" in told
        join.terminate()
        assert join.wait() == 0
        killer.cancel()


@pytest.mark.parametrize("role", ["learn", "serve", "doctor"])
def test_a_wrong_secret_is_refused_without_showing_it(make: Make, tmp_path: Path, role: str) -> None:
    pipeline, path = make()
    create_topics(pipeline)
    wrong = "not-the-secret-at-all"
    (tmp_path / "secrets" / "secret_key").write_text(wrong, encoding="utf-8")
    run = command(role, str(path))
    assert run.returncode == Invalid.exit_code
    assert "secret_key" in complaint(run) or "access" in complaint(run)
    assert wrong not in complaint(run)


@pytest.mark.parametrize("role", ["serve", "dashboard", "learn", "join"])
def test_a_port_in_use_is_named(make: Make, role: str) -> None:
    pipeline, path = make()
    create_topics(pipeline)
    port = {
        "serve": pipeline.serving.port,
        "dashboard": pipeline.dashboard.port,
        "learn": pipeline.learner.port,
        "join": pipeline.control.port,
    }[role]
    with socket.create_server(("127.0.0.1", port)):
        run = command(role, str(path))
    assert run.returncode == Invalid.exit_code
    assert str(port) in complaint(run)
    assert "in use" in complaint(run)


def test_a_missing_file_is_named_with_the_cure(tmp_path: Path) -> None:
    run = command("check", str(tmp_path / "absent.yaml"))
    assert run.returncode == Invalid.exit_code
    assert "absent.yaml" in complaint(run)


def test_help_is_quick_and_has_its_panels() -> None:
    run = command("--help")
    assert run.returncode == 0
    assert all(panel in run.stdout for panel in ("Start", "Run", "Watch"))


def test_doctor_says_ok_of_a_right_pipeline(make: Make) -> None:
    pipeline, path = make()
    create_topics(pipeline)
    run = command("doctor", str(path))
    text = complaint(run)
    assert run.returncode == 0, text
    for subject in ("kafka", "topic", "clock", "s3", "flink"):
        assert f"ok    {subject}" in text, text
