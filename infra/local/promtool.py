"""Fetches Prometheus' promtool out of Debian's package without installing it; run by `make promtool`.

Must import the standard library and infra's errors only.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from infra.errors import Corrupt, Invalid, SpringtideError, Unavailable

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / ".springtide" / "promtool"
PROGRAM: Final = FOLDER / "usr" / "bin" / "promtool"
# Debian 12's. The rules use nothing newer; the package's other dependencies are those of its web pages.
VERSION: Final = "2.42.0+ds-5+deb12u1"
SHA256: Final = {"x86_64": "81d59a24fce84f7fbe97a45a4f2914b6a5881b5cd1db2a6a0e129e515e1a5f55"}
CURE: Final = "`make promtool` on Debian 12, or `apt-get install prometheus`"


def found() -> Path | None:
    """The program, installed or fetched; None where there is neither."""
    installed = shutil.which("promtool")
    if installed is not None:
        return Path(installed)
    return PROGRAM if PROGRAM.is_file() else None


def fetch() -> Path:
    """Fetches the package of :data:`VERSION`, checks it, and unpacks it below :data:`FOLDER`.

    Raises:
        Invalid: This machine has no apt-get or no dpkg, or another processor.
        Unavailable: The package cannot be had here, as on another release of Debian.
        Corrupt: It is not the one that is written down here.
    """
    wanted = SHA256.get(platform.machine())
    if wanted is None or not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Invalid("promtool can be fetched on Debian 12 for x86-64 only", cure="install Prometheus another way")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    ran = subprocess.run(
        ["apt-get", "download", f"prometheus={VERSION}"], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    package = next(FOLDER.glob("*.deb"), None)
    if ran.returncode != 0 or package is None:
        what = f"prometheus {VERSION} cannot be fetched: {ran.stderr.strip()[-200:]}"
        raise Unavailable(what, cure="apt-get update, then again; on another release: apt-get install prometheus")
    with package.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != wanted:
        package.unlink()
        raise Corrupt(f"{package.name} has the checksum {digest}", wanted=wanted, cure="do not trust it")
    subprocess.run(["dpkg", "-x", package, FOLDER], check=True)
    package.unlink()
    (PROGRAM.parent / "prometheus").unlink(missing_ok=True)
    return PROGRAM


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{found() or fetch()}\n")
    except SpringtideError as error:
        sys.exit(str(error))
