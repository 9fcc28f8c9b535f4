"""Real Helm, 3 and 4, takes the chart: run by `make check-helm`, which builds both, and not by `make test`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import helm_python
import pytest

from tests.helm.conftest import CASES, CHART, NAMESPACE, RELEASE, documents, files_of, render, values_of
from tests.helm.programs import KUBERNETES, helm

# A Helm 3 built from its module believes in the oldest Kubernetes unless it is told.
VERSION = ["--kube-version", KUBERNETES]


class Helm:
    """One binary, with no settings but its own."""

    def __init__(self, program: Path, home: Path) -> None:
        self._program, self._home = program, home

    def __call__(self, *arguments: str | Path, fails: bool = False) -> str:
        """What it says; with ``fails`` what it complains of."""
        command = [str(self._program), *map(str, arguments)]
        ran = subprocess.run(command, capture_output=True, text=True, env={"HOME": str(self._home)}, check=False)
        assert (ran.returncode != 0) is fails, ran.stdout + ran.stderr
        return ran.stderr if fails else ran.stdout


@pytest.fixture(scope="module", params=[3, 4], ids=["helm3", "helm4"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(helm(request.param), tmp_path_factory.mktemp("home"))


def given(case: str) -> Sequence[str | Path]:
    return [word for path in files_of(case) for word in ("-f", path)]


def test_its_version_is_the_wanted_one(real: Helm, request: pytest.FixtureRequest) -> None:
    wanted = "v3.22" if "helm3" in request.node.name else "v4.3"
    assert wanted in real("version", "--short")


@pytest.mark.parametrize("case", CASES)
def test_strict_lint_finds_nothing(real: Helm, case: str) -> None:
    assert "0 chart(s) failed" in real("lint", "--strict", CHART, *given(case), *VERSION)


@pytest.mark.parametrize("case", CASES)
def test_it_renders_what_the_other_tests_examine(real: Helm, chart: helm_python.Chart, case: str) -> None:
    text = real("template", RELEASE, CHART, "--namespace", NAMESPACE, *given(case), *VERSION)
    found = {(each["kind"], each["metadata"]["name"]): each for each in documents(text)}
    wanted = render(chart, values_of(case)).objects
    assert found == {(each["kind"], each["metadata"]["name"]): each for each in wanted}


@pytest.mark.parametrize("key", ["replicas.cuont", "pipeline.join.windw", "pipeline.evnts", "flink.taskManager.slot"])
def test_a_misspelt_key_is_refused_by_name(real: Helm, key: str) -> None:
    said = real("template", RELEASE, CHART, *given("minimal"), "--set", f"{key}=1", *VERSION, fails=True)
    assert f"'{key.rpartition('.')[2]}' not allowed" in said


def test_what_is_missing_is_told_at_once_with_its_cure(real: Helm) -> None:
    said = real("template", RELEASE, CHART, *VERSION, fails=True)
    assert "image.repository is empty. Cure: build and push the images" in said
    assert "pipeline is missing. Cure: put your pipeline.yaml below `pipeline:`" in said


def test_a_package_of_it_is_the_same_chart(real: Helm, tmp_path: Path) -> None:
    real("package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("springtide-*.tgz")
    assert package.name == "springtide-0.1.0.tgz"
    asked = ["--namespace", NAMESPACE, *given("routed"), *VERSION]
    assert real("template", RELEASE, package, *asked) == real("template", RELEASE, CHART, *asked)
    assert (
        "examples/quickstart.yaml"
        in subprocess.run(["tar", "-tzf", str(package)], capture_output=True, text=True, check=True).stdout
    )
