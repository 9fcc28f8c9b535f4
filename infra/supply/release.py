"""Makes a release: the wheel for many Linuxes, the chart's package, a bill of materials for each image.

``python -m infra.supply.release`` leaves all of it in ``dist/``; ``make release`` calls it.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from infra.errors import Invalid
from infra.supply.sbom import ROLES, bom

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "helm" / "springtide"
SCRIPTS: Final = ROOT / "infra" / "docker"
OUT: Final = ROOT / "dist"


def versions() -> dict[str, str]:
    """Where a version stands -> what it says."""
    chart = (CHART / "Chart.yaml").read_text(encoding="utf-8").splitlines()
    told = {key: value.strip(' "') for key, _, value in (line.partition(":") for line in chart)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = next(
        line for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line[:3] == "## "
    )
    return {
        "pyproject.toml": project["version"],
        "Chart.yaml version": told["version"],
        "Chart.yaml appVersion": told["appVersion"],
        "CHANGELOG.md": newest.split()[1],
    }


def require_one_version() -> None:
    """Makes sure that all places tell one version.

    Raises:
        Invalid: They differ.
    """
    found = versions()
    if len(set(found.values())) != 1:
        told = ", ".join(f"{place} {version}" for place, version in found.items())
        raise Invalid(f"versions differ: {told}", wanted="one version", cure="set it in all of these files")


def wheel(out: Path) -> Path:
    """The wheel, with the oldest platform tag that it holds to.

    Raises:
        Invalid: It was not built, or holds to no tag.
    """
    with tempfile.TemporaryDirectory(prefix="springtide-release-") as folder:
        for name, arguments in (("tools.sh", [folder]), ("wheel.sh", [folder, str(out)])):
            done = subprocess.run([SCRIPTS / name, *arguments], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Invalid(f"{name} failed: {done.stderr.strip()[-2000:]}", cure="read the words above")
    return next(iter(out.glob("springtide-*.whl")))


def chart(out: Path) -> Path:
    """The chart's package, with its version in the name."""
    import helm_python

    return Path(helm_python.package(str(CHART), destination=str(out)))


def main() -> int:
    """Makes everything and names the files."""
    try:
        require_one_version()
        OUT.mkdir(exist_ok=True)
        made = [wheel(OUT), chart(OUT)]
    except Invalid as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    for role in ROLES:
        made.append(OUT / f"{role}.cdx.json")
        made[-1].write_text(bom(role), encoding="utf-8")
    sys.stdout.writelines(f"{path.relative_to(ROOT)}\n" for path in made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
