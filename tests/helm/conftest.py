"""The chart as Helm's own library renders it, and the values files of this folder."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "springtide"
VALUES = Path(__file__).with_name("values")
EXAMPLES = CHART / "examples"
CASES = sorted(path.stem for folder in (VALUES, EXAMPLES) for path in folder.glob("[a-z]*.yaml"))
RELEASE, NAMESPACE = "demo", "prod"


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``below`` key by key, as Helm does with several values files."""
    result = copy.deepcopy(dict(below))
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else copy.deepcopy(value)
    return result


def values_of(case: str) -> dict[str, Any]:
    """What `-f` of :func:`files_of` gives."""
    values: dict[str, Any] = {}
    for path in files_of(case):
        values = merged(values, read(path.read_text("utf-8")))
    return values


def files_of(case: str) -> list[Path]:
    """The values files of a case: `_base.yaml` and its own; what a user has to add to an example of the chart."""
    example = EXAMPLES / f"{case}.yaml"
    if example.is_file():
        return [VALUES / "_image.yaml", example]
    return [VALUES / "_base.yaml", VALUES / f"{case}.yaml"]


def read(text: str) -> Any:
    """One document of YAML 1.1, which Helm and Kubernetes read."""
    return yaml.load(text, yaml.CSafeLoader)


def documents(manifest: str) -> Iterator[dict[str, Any]]:
    """The objects of a manifest."""
    yield from (document for document in yaml.load_all(manifest, yaml.CSafeLoader) if document is not None)


class Rendered:
    """What one release would consist of.

    Args:
        manifests: Template -> text, as Helm renders it.
    """

    def __init__(self, manifests: Mapping[str, str]) -> None:
        self.notes = next(text for name, text in manifests.items() if name.endswith("NOTES.txt"))
        self.text = "\n".join(text for name, text in manifests.items() if name.endswith(".yaml"))
        self._manifests = manifests

    @cached_property
    def objects(self) -> list[dict[str, Any]]:
        """All of them."""
        texts = [text for name, text in self._manifests.items() if name.endswith(".yaml")]
        return [each for text in texts for each in documents(text)]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The objects of a kind by name."""
        return {each["metadata"]["name"]: each for each in self.objects if each["kind"] == kind}

    def pods(self) -> dict[str, dict[str, Any]]:
        """Every pod template, and every bare pod, by its owner's name: metadata and spec."""
        owned = [each for kind in ("Deployment", "StatefulSet") for each in self.of(kind).values()]
        return {each["metadata"]["name"]: each["spec"]["template"] for each in owned} | self.of("Pod")

    def operators_pods(self) -> dict[str, dict[str, Any]]:
        """What the Flink operator is to make pods of, where there is such an object: not whole pods."""
        specs = [each["spec"] for each in self.of("FlinkDeployment").values()]
        return {role: spec[role]["podTemplate"] for spec in specs for role in ("jobManager", "taskManager")}

    def pipeline(self) -> str:
        """The text of the pods' pipeline.yaml."""
        manifest = next(text for name, text in self._manifests.items() if name.endswith("/configmap.yaml"))
        text: str = next(documents(manifest))["data"]["pipeline.yaml"]
        return text


@pytest.fixture(scope="session")
def chart() -> Iterator[helm_python.Chart]:
    """The chart, loaded once."""
    with helm_python.Chart.load(CHART) as loaded:
        yield loaded


def render(chart: helm_python.Chart, values: dict[str, Any], release: str = RELEASE) -> Rendered:
    """Checks the values against the schema and renders, as an install does first."""
    chart.validate_schema(values)
    return Rendered(chart.render(values, name=release, namespace=NAMESPACE))


@pytest.fixture(scope="session", params=CASES)
def rendered(request: pytest.FixtureRequest, chart: helm_python.Chart) -> Rendered:
    """The release of one values file."""
    return render(chart, values_of(request.param))
