"""Holds each image's lock file to requirements.lock and to what its role's extra asks for."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from platform import python_version

import pytest

from infra.docker.role_locks import EXTRAS, LOCKS, lock_of, pinned

FOREIGN = {
    "join": {"tensorflow", "keras", "ai-edge-litert", "starlette"},
    "learner": {"apache-flink", "apache-beam", "ai-edge-litert", "starlette"},
    "serving": {"apache-flink", "apache-beam"},
    "page": {"apache-flink", "tensorflow", "keras", "ai-edge-litert", "grpcio"},
}
DEVELOPMENT = {"pytest", "mypy", "ruff", "playwright", "mkdocs", "uv", "cmake"}


def names(role: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9.-]+)==", (LOCKS / f"{role}.lock").read_text("utf-8"), re.M))


@pytest.mark.parametrize("role", [*EXTRAS, "build"])
def test_the_lock_files_are_what_make_locks_writes(role: str) -> None:
    assert (LOCKS / f"{role}.lock").read_text("utf-8") == lock_of(role), "run `make locks`"


@pytest.mark.parametrize("role", EXTRAS)
def test_an_image_has_only_its_role(role: str) -> None:
    assert not names(role) & (FOREIGN[role] | DEVELOPMENT)


def test_every_package_is_pinned_with_a_hash() -> None:
    without = {name for name, lines in pinned().items() if "--hash=sha256:" not in lines}
    assert without == set()


@pytest.mark.parametrize("role", EXTRAS)
def test_nothing_that_a_role_needs_is_missing(role: str, tmp_path: Path) -> None:
    """By another's reckoning than the one that wrote the file: uv finds the lock complete for what is declared."""
    uv = shutil.which("uv", path=str(Path(".venv/bin").absolute())) or shutil.which("uv")
    assert uv is not None
    found = tmp_path / "found.lock"
    command = [
        uv,
        "pip",
        "compile",
        "-q",
        "--offline",
        "--no-header",
        "--no-annotate",
        "--python-version",
        python_version(),
    ]
    command += ["--constraint", "requirements.lock", "--extra", EXTRAS[role], "-o", str(found), "pyproject.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"uv's cache does not hold every package's description: {done.stderr.strip()[-200:]}")
    assert set(re.findall(r"^([a-z0-9.-]+)==", found.read_text("utf-8"), re.M)) == names(role)
