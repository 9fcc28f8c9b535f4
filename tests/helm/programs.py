"""Helm, a Kubernetes API server and its database, built or unpacked once per version; knows nothing of the chart.

``python -m tests.helm.programs`` makes all of them, which takes Go and about ten minutes of two cores, the first time.
They lie in the user's cache, outside of any clone.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HELM: Final = {3: "3.22.0", 4: "4.3.1"}
KUBERNETES: Final = "1.37.2"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "springtide"
# The tail of what a failed step said.
LINES: Final = 15


class NotBuilt(RuntimeError):
    """A program could not be had; the message says why and what would help."""


def helm(major: int) -> Path:
    """Helm's own binary, of major version 3 or 4.

    Raises:
        NotBuilt: Go is missing, or the build failed.
    """
    version = HELM[major]

    def build(folder: Path) -> None:
        module = f"helm.sh/helm/v{major}/cmd/helm@v{version}"
        _run(["go", "install", module], environment={"GOBIN": str(folder)})

    return _made(f"helm-{version}", "helm", build)


def api_server() -> Path:
    """The `kube-apiserver`, of the version against whose schemas the chart is tested.

    Raises:
        NotBuilt: Go is missing, or the build failed.
    """
    return _made(f"kube-apiserver-{KUBERNETES}", "kube-apiserver", _build_api_server)


def etcd() -> Path:
    """The API server's database: the installed one, else Debian's package unpacked without being installed.

    Raises:
        NotBuilt: There is neither.
    """
    found = shutil.which("etcd")
    return Path(found) if found else _made("etcd", "etcd", _unpack_etcd)


def _build_api_server(folder: Path) -> None:
    """As its own build does, but with the published modules in place of the folders that a module cannot carry."""
    told = json.loads(_run(["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"]))
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        source = Path(place) / "kubernetes"
        _run(["cp", "-r", "--no-preserve=mode", told["Dir"], str(source)])
        (source / "go.work").unlink(missing_ok=True)
        module = source / "go.mod"
        text = re.sub(r"^\s*\S+ => \./staging/\S+\n", "", module.read_text("utf-8"), flags=re.MULTILINE)
        published = f"v0.{KUBERNETES.partition('.')[2]}"
        module.write_text(re.sub(r"^(\s*k8s\.io/\S+) v0\.0\.0$", rf"\1 {published}", text, flags=re.MULTILINE), "utf-8")
        number = f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES}"
        build = ["go", "build", "-mod=mod", "-ldflags", f"-s -w {number}", "-o", str(folder), "./cmd/kube-apiserver"]
        _run(build, where=source)


def _unpack_etcd(folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotBuilt("etcd not found in PATH. Cure: install etcd, or its package etcd-server")
    with tempfile.TemporaryDirectory() as place:
        _run(["apt-get", "download", "etcd-server"], where=Path(place))
        _run(["dpkg-deb", "-x", *map(str, Path(place).glob("etcd-server_*.deb")), place])
        shutil.move(Path(place) / "usr" / "bin" / "etcd", folder / "etcd")


def _made(name: str, program: str, make: Callable[[Path], None]) -> Path:
    """``program`` in the cache's folder ``name``, which appears whole or not at all."""
    final = CACHE / name / program
    with _alone(name):
        if not final.is_file():
            with tempfile.TemporaryDirectory(dir=CACHE) as place:
                make(Path(place))
                final.parent.mkdir(exist_ok=True)
                (Path(place) / program).rename(final)
    return final


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Two who want the same program build it once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str], *, where: Path | None = None, environment: dict[str, str] | None = None) -> str:
    try:
        ran = subprocess.run(
            command, cwd=where, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        cure = "install Go 1.26 or newer, and put its bin folder into PATH"
        raise NotBuilt(f"`{command[0]}` not found in PATH. Cure: {cure}") from None
    if ran.returncode != 0:
        last = "\n".join((ran.stderr or ran.stdout).strip().splitlines()[-LINES:])
        raise NotBuilt(f"`{' '.join(command[:3])} …` ended with {ran.returncode}:\n{last}")
    return ran.stdout


def main() -> None:
    """Makes every program and says where it is."""
    for made in (helm(3), helm(4), etcd(), api_server()):
        sys.stdout.write(f"{made}\n")


if __name__ == "__main__":
    main()
