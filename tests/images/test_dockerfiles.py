"""Holds the Dockerfiles to the scripts, to the chart's roles, and to what a restricted cluster asks of an image."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "infra" / "docker"
ROLES = sorted(path.name.removesuffix(".Dockerfile") for path in DOCKER.glob("*.Dockerfile"))
ROOMS = {"checkpointing", "dashboard", "infra", "kernels", "learner", "serving", "springtide", "streaming"}


def instructions(role: str) -> list[str]:
    """Lines that do something, in order."""
    lines = (DOCKER / f"{role}.Dockerfile").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def last_stage(role: str) -> list[str]:
    found = instructions(role)
    return found[max(number for number, line in enumerate(found) if line.startswith("FROM ")) :]


def test_there_is_one_for_every_image_of_the_chart() -> None:
    templates = "".join(path.read_text("utf-8") for path in (ROOT / "helm/springtide/templates").iterdir())
    assert set(re.findall(r'"image" "([a-z]+)"', templates)) == set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_what_it_runs_and_copies_is_there(role: str) -> None:
    for line in instructions(role):
        for script in re.findall(r"infra/docker/[a-z_]+\.sh", line):
            assert (ROOT / script).stat().st_mode & 0o111, script
        if line.startswith("RUN "):
            # One copy of every step: a Dockerfile only calls the scripts that the tests run, too.
            assert re.match(r"RUN (infra/docker|)/?[a-z_]+\.sh ", line), line


@pytest.mark.parametrize("role", ROLES)
def test_it_runs_as_nobody_by_number_and_carries_no_tool(role: str) -> None:
    stage = last_stage(role)
    assert "USER 10001:10001" in stage
    assert not [line for line in stage if line.startswith("RUN ")]
    assert not [line for line in stage if "/tools" in line or "/source" in line]


@pytest.mark.parametrize("role", ROLES)
def test_the_bases_can_be_named_by_digest(role: str) -> None:
    found = instructions(role)
    stages = {line.split(" AS ")[1] for line in found if " AS " in line}
    bases = {line.split()[1] for line in found if line.startswith("FROM ")} - stages
    named = {line.split()[1].split("=")[0] for line in found if line.startswith("ARG ")}
    assert {base.strip("${}") for base in bases} == named


def test_what_goes_to_the_builder_is_what_a_wheel_is_made_of() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert sent == {"CMakeLists.txt", "LICENSE", "README.md", "pyproject.toml"} | ROOMS


def test_the_scripts_are_plain_and_stop_at_the_first_failure() -> None:
    for script in sorted(DOCKER.glob("*.sh")):
        text = script.read_text("utf-8")
        assert text.startswith("#!/bin/sh\n") and "\nset -eu\n" in text, script.name
        subprocess.run(["sh", "-n", script], check=True)
