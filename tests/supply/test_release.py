"""A release has one version, a chart that is the folder's, and a wheel that runs the demo where nothing else is."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra.docker.role_locks import ROOT
from infra.supply.release import CHART, chart, require_one_version, versions, wheel
from tests.helm.conftest import values_of

OLDEST_GLIBC = (2, 36)


def test_every_place_tells_one_version() -> None:
    require_one_version()
    assert set(versions().values()) == {"0.1.0"}


def test_the_charts_package_renders_what_the_folder_renders(tmp_path: Path) -> None:
    import helm_python

    package = chart(tmp_path)
    assert package.name == f"springtide-{versions()['pyproject.toml']}.tgz"
    values = values_of("minimal")
    with helm_python.Chart.load(str(package)) as packed, helm_python.Chart.load(str(CHART)) as folder:
        assert packed.render(values, name="a") == folder.render(values, name="a")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel(tmp_path_factory.mktemp("dist"))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_wheel_is_for_many_linuxes_and_holds_no_test(built: Path) -> None:
    tag = re.search(r"-cp311-cp311-(manylinux_(\d+)_(\d+)_x86_64|manylinux_\d+_\d+_aarch64)", built.name)
    assert tag is not None, built.name
    oldest = re.findall(r"manylinux_(\d+)_(\d+)", built.name)
    assert min((int(major), int(minor)) for major, minor in oldest) <= OLDEST_GLIBC
    shown = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", built], check=True, capture_output=True, text=True
    )
    assert "manylinux_" in shown.stdout
    names = zipfile.ZipFile(built).namelist()
    assert not [name for name in names if name.startswith("tests/") or name.endswith(".cpp")]
    assert "infra/local/pom.xml" in names and "streaming/decoder/springtide/events/EventDecoder.java" in names


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.timeout(1800)
def test_the_wheel_runs_the_demo_in_a_clean_environment(built: Path, tmp_path: Path) -> None:
    """With the versions of the lock file, from nothing but the wheel and the packages; in a folder of its own."""
    home = tmp_path / "clean"
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    uv = Path(sys.executable).with_name("uv")
    pinned = tmp_path / "pinned.txt"
    # Versions alone: with hashes, every requirement wants one, the wheel's as well.
    pinned.write_text("\n".join(re.findall(r"^[a-z0-9.-]+==[^ \\;]+", (ROOT / "requirements.lock").read_text(), re.M)))
    install: list[str | Path] = [uv, "pip", "install", "-q", "--python", home / "bin/python", "--constraint", pinned]
    subprocess.run([*install, f"{built}[demo]"], check=True)
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    help_ = subprocess.run([home / "bin/springtide", "--help"], check=True, capture_output=True, text=True, env=bare)
    assert "Act" in help_.stdout
    shutil.copytree(ROOT / ".springtide/data", tmp_path / ".springtide/data", dirs_exist_ok=True)
    done = subprocess.run(
        [home / "bin/springtide", "demo", "--once", "--minutes", "1.5"],
        cwd=tmp_path,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, json.dumps([done.stdout[-3000:], done.stderr[-3000:]])
    assert re.search(r"lost 0 +doubled 0", done.stdout), done.stdout
