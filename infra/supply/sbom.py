"""Writes a CycloneDX bill of materials for each image: Python packages, jars and what is vendored, with their hashes.

``python -m infra.supply.sbom`` writes ``build/sbom/<role>.cdx.json``; ``make sbom`` calls it. The same locks give the
same bytes: no time, no random number.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from infra.docker.role_locks import EXTRAS, LOCKS
from infra.local import jars

ROOT: Final = Path(__file__).resolve().parents[2]
OUT: Final = ROOT / "build" / "sbom"
ROLES: Final = (*EXTRAS, "flink")
JAR: Final = re.compile(r"(?P<folder>[^/]+)/(?P<name>.+?)-(?P<version>[0-9][^/]*)\.jar$")
# Maven's group of each jar that goes into an image; the broker's jars go into none.
GROUPS: Final = {"protobuf-java": "com.google.protobuf"}
FLINK_GROUP: Final = "org.apache.flink"
VENDORED: Final = {"page": ROOT / "dashboard/static/VENDORED.md"}


def packages(role: str) -> Iterator[Component]:
    """The Python packages of a role's lock file; a package has a hash for each of its files."""
    text = (LOCKS / f"{role}.lock").read_text(encoding="utf-8")
    for block in re.split(r"\n(?=\S)", text):
        name, version = re.match(r"([^=]+)==([^\s;\\]+)", block).groups()  # type: ignore[union-attr]
        hashes = [
            HashType(alg=HashAlgorithm.SHA_256, content=one) for one in re.findall(r"sha256:([0-9a-f]{64})", block)
        ]
        purl = PackageURL("pypi", None, name, version)
        yield Component(name=name, version=version, purl=purl, bom_ref=str(purl), hashes=hashes)


def java(role: str) -> Iterator[Component]:
    """The jars of a role: what the join hands to Flink, and what the Flink image has beside the distribution."""
    plugins = {jars.FLINK_KAFKA_CONNECTOR, jars.FLINK_S3_PLUGIN}
    for name, digest in sorted(jars.expected().items()):
        found = JAR.match(name)
        if found is None or found["folder"] != "flink" or (role == "flink" and name not in plugins):
            continue
        purl = PackageURL("maven", GROUPS.get(found["name"], FLINK_GROUP), found["name"], found["version"])
        sha512 = HashType(alg=HashAlgorithm.SHA_512, content=digest)
        yield Component(name=found["name"], version=found["version"], purl=purl, bom_ref=str(purl), hashes=[sha512])


def bundled(role: str) -> Iterator[Component]:
    """Files of others that lie in the page's folder, as their list there names them."""
    listed = VENDORED.get(role)
    if listed is None:
        return
    rows = re.findall(
        r"^\| `(\S+)` \| npm package `(\S+)` (\S+), .*\| (\S+) \(", listed.read_text(encoding="utf-8"), re.M
    )
    for file, name, version, licence in rows:
        purl = PackageURL("npm", None, name, version)
        digest = hashlib.sha256((listed.parent / file).read_bytes()).hexdigest()
        yield Component(
            name=name,
            version=version,
            purl=purl,
            bom_ref=str(purl),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
            licenses=[DisjunctiveLicense(id=licence)],
        )


def bom(role: str) -> str:
    """The bill of a role's image as JSON, without what its base image brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = f"springtide-{role}"
    root = Component(
        name=name,
        version=project["version"],
        type=ComponentType.CONTAINER,
        bom_ref=name,
        licenses=[DisjunctiveLicense(id=project["license"])],
    )
    found = [*java(role)] if role == "flink" else [*packages(role), *bundled(role)]
    if role == "flink":
        found += [each for each in packages("join") if each.name == "apache-flink-libraries"]
    if role == "join":
        found += java(role)
    told = Bom(components=found)
    told.metadata.component = root
    told.metadata.timestamp = None  # type: ignore[assignment]
    told.register_dependency(root, found)
    told.serial_number = None  # type: ignore[assignment]  # it would be drawn
    return JsonV1Dot6(told).output_as_string(indent=2) + "\n"


def main() -> None:
    """Writes all bills."""
    OUT.mkdir(parents=True, exist_ok=True)
    for role in ROLES:
        path = OUT / f"{role}.cdx.json"
        path.write_text(bom(role), encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)} written\n")


if __name__ == "__main__":
    main()
