"""Holds that the set-up names all that is missing, shows why a step failed, resumes, and is idle when all is done."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra import bootstrap
from infra.errors import Unavailable
from infra.local import jars
from infra.local.jars import ROOT

FILES = ("__init__.py", "bootstrap.py", "clock.py", "errors.py", "local")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a fresh clone as the set-up itself needs."""
    (tmp_path / "infra").mkdir()
    for name in FILES:
        source = ROOT / "infra" / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / "infra" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / "infra" / name)
    (tmp_path / "requirements.lock").write_text("")
    (tmp_path / "bin").mkdir()
    return tmp_path


def set_up(checkout: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Runs the set-up with nothing but the standard library."""
    command = [sys.executable, "-S", "-m", "infra.bootstrap", "title"]
    return subprocess.run(
        command, cwd=checkout, env={"PATH": path}, capture_output=True, text=True, timeout=60, check=False
    )


def tool(checkout: Path, name: str, script: str) -> None:
    """Puts a program of that name into the checkout's own `bin`."""
    path = checkout / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_everything_missing_is_named_at_once_with_its_cure(checkout: Path) -> None:
    done = set_up(checkout, str(checkout / "bin"))
    assert done.returncode == 2
    for name, cure in (("java", "openjdk-17"), ("mvn", "maven"), (r"g\+\+", r"g\+\+")):
        assert re.search(rf"FAIL  {name} .*; cure: .*{cure}", done.stderr)
    assert "Traceback" not in done.stderr


def test_a_java_of_another_version_is_named(checkout: Path) -> None:
    tool(checkout, "java", """echo 'openjdk version "11.0.2" 2019-01-15' >&2""")
    done = set_up(checkout, f"{checkout / 'bin'}:/usr/bin:/bin")
    assert done.returncode == 2
    assert re.search(r"FAIL  java .*is Java 11, wanted Java 17; cure: ", done.stderr)


def test_a_failed_step_shows_its_last_lines_and_the_cure_and_the_next_run_resumes(checkout: Path) -> None:
    tool(checkout, "mvn", "seq 1 30; echo 'cannot reach the registry'; exit 1")
    path = f"{checkout / 'bin'}:{os.environ['PATH']}"
    # The environment counts as done, so that only the jars are tried.
    for name in ("python", "pytest"):
        (checkout / ".venv/bin").mkdir(parents=True, exist_ok=True)
        (checkout / ".venv/bin" / name).symlink_to(sys.executable)
    stamp = checkout / ".springtide/setup/environment.stamp"
    stamp.parent.mkdir(parents=True)
    ask = "from infra.bootstrap import Environment; print(Environment().inputs(), end='')"
    asked = subprocess.run([sys.executable, "-S", "-c", ask], cwd=checkout, capture_output=True, text=True, check=True)
    stamp.write_text(asked.stdout)

    for _ in range(2):
        done = set_up(checkout, path)
        assert done.returncode == 69
        assert re.search(r"^title\n  1/5 python environment +ready\n  2/5 kafka, flink jars +FAILED", done.stdout)
        assert "cannot reach the registry" in done.stderr
        assert "\n      22\n" in done.stderr
        assert "\n      21\n" not in done.stderr
        assert "resumes" in done.stderr
        assert not (checkout / ".springtide/setup/jars.stamp").exists()


def test_jars_other_than_the_pinned_ones_are_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(
        checkout,
        "mvn",
        "for a; do case $a in -Djars=*) mkdir -p ${a#-Djars=}/kafka; echo x >${a#-Djars=}/kafka/a.jar;; esac; done",
    )
    monkeypatch.setattr(bootstrap, "STATE", checkout)
    monkeypatch.setattr(bootstrap, "LOGS", checkout)
    monkeypatch.setattr(jars, "JARS", checkout / "jars")
    monkeypatch.setenv("PATH", f"{checkout / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(bootstrap, "ROOT", checkout)
    with bootstrap.only_one() as lock, pytest.raises(Unavailable, match="jars are missing: "):
        bootstrap.perform(2, bootstrap.Jars(), lock)
    assert not (checkout / "jars").exists()


def test_a_second_set_up_is_idle(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [bootstrap.Environment(), bootstrap.Jars(), bootstrap.Decoder(), bootstrap.Kernels()]
    if not all(step.is_done() for step in steps):
        pytest.skip("this checkout was not set up by `make setup`")
    stamps = {step.log_name: step.stamp.stat().st_mtime_ns for step in steps}
    bootstrap.set_up()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["1/5", "2/5", "3/5", "4/5"]
    assert all("ready" in line for line in lines)
    assert {step.log_name: step.stamp.stat().st_mtime_ns for step in steps} == stamps
