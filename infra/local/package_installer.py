"""How the environment's packages are fetched: by uv, led by what pip is told; must import the standard library only."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

# What pip is told in its files and its environment -> what uv calls it. Their last words are the same.
SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def locked(lock: Path) -> str:
    """The lines of the lock file that pin uv, with its hashes."""
    found = re.search(r"^uv==.*?(?=^\S|\Z)", lock.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return found.group() if found else ""


def translated(settings: str) -> dict[str, str]:
    """uv's environment for ``settings``, the output of `pip config list`: one `section.name='value'` a line."""
    found: dict[str, str] = {}
    for line in settings.splitlines():
        name, equals, value = line.partition("=")
        section, _, option = name.rpartition(".")
        # The environment (`:env:`) comes last and wins, as with pip; what stands for other commands is not meant.
        if equals and option in SETTINGS and section in {"global", "install", ":env:"}:
            between = "," if option == "find-links" else " "
            found[SETTINGS[option]] = between.join(str(ast.literal_eval(value)).split())
    return found


def install(python: Path, lock: Path, pip: Sequence[str | Path]) -> list[str | Path]:
    """The command that installs ``lock`` with uv, and where that fails with ``pip``, which may know another way.

    uv takes half of pip's time.

    Args:
        python: The environment's.
        lock: Packages with their hashes.
        pip: The same as a command of pip.
    """
    told = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    settings = [f"{name}={value}" for name, value in translated(told.stdout).items()]
    uv = [python.with_name("uv"), "pip", "install", "--python", python, "--require-hashes", "-r", lock]
    either = " || ".join(shlex.join(map(str, command)) for command in (["env", *settings, *uv], pip))
    return ["sh", "-c", either]
