"""The values' schema and defaults are those of the models, and what is wrong is refused by name with its cure."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from typing import Any

import helm_python
import jsonschema
import pytest

from springtide.chart_schema import values_schema, written
from springtide.chart_values import Values
from tests.helm.conftest import CASES, CHART, merged, read, render, values_of


def test_what_is_made_from_code_is_as_the_code_makes_it() -> None:
    assert {name: (CHART / name).read_text("utf-8") for name in written()} == written(), "run `make chart`"
    jsonschema.Draft202012Validator.check_schema(values_schema())


def test_the_defaults_are_the_models() -> None:
    found = read((CHART / "values.yaml").read_text("utf-8"))
    assert Values.model_validate(found) == Values()
    assert "pipeline" not in found


def test_every_object_of_the_schema_refuses_unknown_keys() -> None:
    schema = values_schema()
    open_ones = [
        name
        for name, part in schema["$defs"].items()
        if part.get("type") == "object" and part.get("additionalProperties") is not False
    ]
    assert open_ones == []
    assert schema["additionalProperties"] is False


def changed(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The values with another value at a dotted path."""
    result = copy.deepcopy(values)
    place: Any = result
    *above, last = path.split(".")
    for key in above:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    place[last] = value
    return result


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("replicas.cuont", "cuont"),
        ("pipeline.join.windw", "windw"),
        ("pipeline.evnts", "evnts"),
        ("pipeline.features.0.tabel", "tabel"),
        ("pipeline.events.impressions.fields.0.tpye", "tpye"),
        ("flink.taskManager.slot", "slot"),
    ],
)
def test_a_misspelt_key_is_refused_by_name(chart: helm_python.Chart, path: str, key: str) -> None:
    with pytest.raises(helm_python.HelmValuesError, match=f"'{key}' not allowed"):
        chart.validate_schema(changed(values_of("minimal"), path, 1))


def test_an_inline_secret_is_refused(chart: helm_python.Chart) -> None:
    values = changed(values_of("secured"), "pipeline.kafka.sasl.password", {"value": "hunter2"})
    with pytest.raises(helm_python.HelmValuesError, match="'value' not allowed") as refusal:
        chart.validate_schema(values)
    assert "hunter2" not in str(refusal.value)


# What is no mistake by itself.
BESIDE: dict[str, dict[str, Any]] = {"podMonitor": {"serviceMonitor": {"enabled": True}}}


@pytest.mark.parametrize(
    ("path", "value", "cure"),
    [
        ("image.repository", "", "build and push the images"),
        ("pipeline.store.url", "file:///data", "an object store"),
        ("pipeline.flink.mode", "application", "leave it out"),
        ("pipeline.flink.rest", "http://flink:8081", "leave one of them out"),
        ("pipeline.flink.checkpoints", None, "add a folder of its own"),
        ("pipeline.flink.parallelism", 5, "raise flink.taskManager.replicas"),
        ("flink.mode", "existing", "name the cluster's REST address"),
        ("pipeline.store.access_key", {"file": "/etc/springtide/secrets/s3/id"}, "--set secrets.s3=NAME"),
        ("tests.probe", True, "set both or neither"),
        ("canary.enabled", True, "set both or neither"),
        ("page.ingress.enabled", True, "--set page.ingress.hosts"),
        ("replicas.httpRoute.enabled", True, "--set replicas.httpRoute.parentRefs"),
        ("podMonitor", {"enabled": True}, "leave one of them out"),
        ("development.enabled", True, "begin with examples/quickstart.yaml"),
        ("replicas.autoscaling", {"enabled": True, "minReplicas": 9, "maxReplicas": 3}, "correct one"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_cure(chart: helm_python.Chart, path: str, value: Any, cure: str) -> None:
    with pytest.raises(helm_python.HelmRenderError) as refusal:
        chart.render(changed(merged(values_of("minimal"), BESIDE.get(path, {})), path, value), name="demo")
    assert f"Cure: {cure}" in str(refusal.value)


def test_all_findings_come_at_once(chart: helm_python.Chart) -> None:
    with pytest.raises(helm_python.HelmRenderError) as refusal:
        chart.render({}, name="demo")
    assert "image.repository is empty" in str(refusal.value)
    assert "pipeline is missing. Cure: put your pipeline.yaml below `pipeline:`" in str(refusal.value)


@pytest.mark.parametrize("case", CASES)
def test_the_values_files_are_what_the_model_takes(case: str) -> None:
    values = values_of(case)
    del values["pipeline"]
    Values.model_validate(values)


def test_a_minimal_release_is_one_of_everything(chart: helm_python.Chart) -> None:
    pods = render(chart, values_of("minimal")).pods().keys()
    roles = ("join", "flink-jobmanager", "flink-taskmanager", "learner", "compactor", "replicas", "page", "test-doctor")
    assert pods == {f"demo-springtide-{role}" for role in roles}
