"""What this machine must have before a set-up, and how to get it; standard library only, used with a bare Python."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

from infra.errors import Invalid
from infra.local.java import java_tool, require_java

PYTHON = (3, 11)
GIGABYTE = 1 << 30
# The environment takes 4.3 GiB, its compressed packages in pip's cache and the jars another GiB.
DISK_GIGABYTES = 5


class Missing(NamedTuple):
    """A tool that is not as wanted."""

    tool: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"FAIL  {self.tool:<8}{self.what}; cure: {self.cure}"


def missing_for_environment(root: Path) -> list[Missing]:
    """What keeps a Python environment from being made below ``root``."""
    missing = []
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        missing.append(Missing("venv", "this Python cannot make environments", "apt-get install python3.11-venv"))
    free = shutil.disk_usage(root).free
    if free < DISK_GIGABYTES * GIGABYTE:
        what = f"{free / GIGABYTE:.1f} GiB free, about {DISK_GIGABYTES} needed"
        missing.append(Missing("disk", what, f"free space at {root}"))
    return missing


def missing_python() -> list[Missing]:
    """Whether this Python has the wanted version."""
    if sys.version_info[:2] == PYTHON:
        return []
    found = ".".join(map(str, sys.version_info[:3]))
    cure = "install Python 3.11 and name it, as in `make PYTHON=/usr/bin/python3.11 test`"
    return [Missing("python", f"{sys.executable} is Python {found}, wanted 3.11", cure)]


def missing_java() -> list[Missing]:
    """Whether there is a Java of the wanted version."""
    try:
        require_java()
    except Invalid as error:
        return [Missing("java", f"{error.what}, wanted {error.wanted}", error.cure)]
    return []


def missing_for_jars() -> list[Missing]:
    """What keeps the jars from being fetched."""
    if shutil.which("mvn") is not None:
        return []
    return [Missing("mvn", "Maven not found in PATH", "apt-get install maven, or put its bin folder into PATH")]


def missing_for_decoder() -> list[Missing]:
    """What keeps the decoder of events from being compiled."""
    try:
        java_tool("javac")
        java_tool("jar")
    except Invalid as error:
        return [Missing("javac", f"{error.what}, wanted {error.wanted}", error.cure)]
    return []


def missing_for_kernels() -> list[Missing]:
    """What keeps the C++ kernels from being compiled."""
    missing = []
    if shutil.which("g++") is None and shutil.which("c++") is None:
        missing.append(Missing("g++", "no C++ compiler in PATH", "apt-get install g++"))
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        missing.append(Missing("headers", "Python.h of this Python not found", "apt-get install python3.11-dev"))
    return missing
