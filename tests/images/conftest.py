"""The trees of all images, each built once for all tests by the scripts that the Dockerfiles call."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.local.jars import ROOT

SCRIPTS = ROOT / "infra" / "docker"


def script(name: str, *arguments: str | Path, root: Path = ROOT) -> None:
    """Runs one build step as its Dockerfile does."""
    done = subprocess.run(
        [root / "infra" / "docker" / name, *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "PYTHON"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def sources(target: Path) -> Path:
    """What `COPY . .` takes, in a folder of its own."""
    wanted = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    for name in wanted:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def fingerprint(tree: Path) -> dict[str, str]:
    """Relative path -> permissions with the hash of the content, or with where a link leads."""
    found = {}
    for folder, _, files in os.walk(tree):
        for name in files:
            path = Path(folder, name)
            mode = oct(path.lstat().st_mode)
            if path.is_symlink():
                found[str(path.relative_to(tree))] = f"{mode} -> {path.readlink()}"
            else:
                with path.open("rb") as file:
                    found[str(path.relative_to(tree))] = f"{mode} {hashlib.file_digest(file, 'sha256').hexdigest()}"
    return found


class Images:
    """Builds trees on demand, below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tools: Path | None = None
        self._built: set[Path] = set()

    @property
    def tools(self) -> Path:
        if self._tools is None:
            self._tools = self._folder / "tools"
            script("tools.sh", self._tools)
        return self._tools

    def wheels(self, name: str = "source") -> Path:
        """A folder with the wheel, built from a copy of the sources of that name."""
        out = self._folder / f"wheels-{name}"
        if out not in self._built:
            script("wheel.sh", self.tools, out, root=sources(self._folder / name))
            self._built.add(out)
        return out

    def tree(self, role: str, *, anew: bool = False) -> Path:
        """The folder that the image of ``role`` holds; always in the same place, as in an image."""
        prefix = self._folder / role
        if anew or prefix not in self._built:
            if role == "flink":
                script("flink.sh", self.tree("join"), prefix)
            else:
                script("role.sh", self.tools, self.wheels(), role, prefix)
            self._built.add(prefix)
        return prefix


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return Images(tmp_path_factory.mktemp("images"))
