"""A real schema registry, Apicurio in memory, fetched when a long test first asks for it; must not know a test."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from infra.errors import Corrupt, Unavailable
from infra.local.jars import ROOT
from infra.local.java import java_executable
from infra.local.ports import HOST, free_ports
from infra.local.process import Process
from tests.asking import HTTP

# The last line that runs on Java 17.
_VERSION: Final = "2.6.13.Final"
_SHA512: Final = (
    "11d36e7340ed8d6218755a66d3ff38fe6e9c9bd9c723eae9da131d0e1811d4d1"
    "205fd2c3da4ec052f1a1933e07d96a072ad2c620ab0854db75ef3cb5b62ee40f"
)
_FOLDER: Final = ROOT / ".springtide" / "apicurio" / _VERSION
_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
_JAVA: Final = ("-Xmx300m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_READY_S: Final = 120.0


class ApicurioServer:
    """The registry, empty at each start; `.url` is that of its API as Confluent's clients speak it.

    Args:
        logs: Folder for its log.
    """

    def __init__(self, logs: Path) -> None:
        (port,) = free_ports(1)
        self.url = f"http://{HOST}:{port}/apis/ccompat/v7"
        (runner,) = _fetched().glob("*-runner.jar")
        command = [java_executable(), *_JAVA, f"-Dquarkus.http.port={port}", f"-Dquarkus.http.host={HOST}"]
        self._process = Process("apicurio", [*command, "-jar", str(runner)], logs / "apicurio.log")

    @property
    def settings(self) -> dict[str, str]:
        """What a pipeline says of it."""
        return {"url": self.url}

    def _answers(self) -> bool:
        try:
            return HTTP.get(f"{self.url}/subjects").status_code == httpx.codes.OK
        except httpx.HTTPError as error:
            raise Unavailable(str(error)) from None

    def __enter__(self) -> Self:
        self._process.start()
        self._process.wait_until_ready(self._answers, _READY_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()


def _fetched() -> Path:
    """The folder of the unpacked distribution, 146 MB."""
    if _FOLDER.is_dir():
        return _FOLDER
    _FOLDER.parent.mkdir(parents=True, exist_ok=True)
    artifact = f"io.apicurio:apicurio-registry-app:{_VERSION}:tar.gz:all"
    command = ["mvn", "-q", "-B", "-ntp", _COPY, f"-Dartifact={artifact}", f"-DoutputDirectory={_FOLDER.parent}"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    archive = _FOLDER.parent / f"apicurio-registry-app-{_VERSION}-all.tar.gz"
    with archive.open("rb") as file:
        if hashlib.file_digest(file, "sha512").hexdigest() != _SHA512:
            raise Corrupt(f"{archive.name} is not the pinned one", where=str(archive))
    fresh = _FOLDER.with_suffix(".new")
    with tarfile.open(archive) as packed:
        packed.extractall(fresh, filter="data")
    archive.unlink()
    fresh.rename(_FOLDER)
    return _FOLDER
