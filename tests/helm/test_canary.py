"""The canary of the chart: off by itself; switched on, one pod that its own program takes, seen and let through."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import helm_python
import pytest
import typer.main

from springtide.chart_values import Values
from springtide.cli import app
from tests.helm.conftest import Rendered, merged, render, values_of

NAME = "demo-springtide-canary"
COMPONENT = "app.kubernetes.io/component"


@pytest.fixture(scope="module")
def release(chart: helm_python.Chart) -> Rendered:
    return render(chart, values_of("canary"))


def test_it_is_off_by_itself(chart: helm_python.Chart) -> None:
    without = render(chart, values_of("minimal"))
    assert not any(each["metadata"]["name"].endswith("-canary") for each in without.objects)
    assert Values().canary.enabled is False


def test_its_command_takes_what_the_values_say(release: Rendered) -> None:
    (container,) = release.pods()[NAME]["spec"]["containers"]
    assert container["command"] == ["springtide"]
    command, *words = container["args"]
    probe = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    taken: dict[str, Any] = probe.make_context("probe", list(words)).params
    assert str(taken["pipeline"]) == "/etc/springtide/config/pipeline.yaml"
    assert (taken["every"], taken["timeout"], taken["listen"]) == ("30s", 45.0, "0.0.0.0:8950")
    assert container["ports"] == [{"name": "http", "containerPort": 8950}]


def test_it_is_one_pod_with_secrets_and_configuration_as_every_other(release: Rendered) -> None:
    deployment = release.of("Deployment")[NAME]
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    canary, page = release.pods()[NAME], release.pods()["demo-springtide-page"]
    assert canary["metadata"]["labels"] | {COMPONENT: "page"} == page["metadata"]["labels"] | {"team": "ranking"}
    assert canary["metadata"]["annotations"] == page["metadata"]["annotations"]
    assert canary["spec"]["volumes"] == [each for each in page["spec"]["volumes"] if each["name"] != "history"]
    assert canary["spec"]["securityContext"] == page["spec"]["securityContext"]
    assert canary["spec"]["serviceAccountName"] in release.of("ServiceAccount")


def test_a_changed_pipeline_restarts_it(chart: helm_python.Chart) -> None:
    changed = merged(values_of("canary"), {"pipeline": {"join": {"window": "20m"}}})
    sums = {
        render(chart, values).pods()[NAME]["metadata"]["annotations"]["checksum/config"]
        for values in (values_of("canary"), changed)
    }
    assert len(sums) == 2


def test_it_may_ask_the_replicas_and_prometheus_may_ask_it(release: Rendered) -> None:
    policies = release.of("NetworkPolicy")
    monitoring = values_of("canary")["networkPolicy"]["monitoring"]
    assert policies[NAME]["spec"]["ingress"] == [{"from": monitoring}]
    asked_by = {
        role: {
            peer["podSelector"]["matchLabels"][COMPONENT]
            for rule in policies[f"demo-springtide-{role}"]["spec"]["ingress"]
            for peer in rule["from"]
            if "podSelector" in peer
        }
        for role in ("replicas", "learner", "join", "page")
    }
    assert asked_by == {
        "replicas": {"page", "test", "canary"},
        "learner": {"page", "test"},
        "join": {"page", "test"},
        "page": set(),
    }


def test_prometheus_finds_it_by_either_monitor(release: Rendered, chart: helm_python.Chart) -> None:
    service = release.of("Service")[NAME]
    wanted = release.of("ServiceMonitor")["demo-springtide-metrics"]["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= release.pods()[NAME]["metadata"]["labels"].items()
    values = merged(values_of("canary"), {"serviceMonitor": {"enabled": False}, "podMonitor": {"enabled": True}})
    by_pods = render(chart, values)
    chosen = by_pods.of("PodMonitor")["demo-springtide-metrics"]["spec"]["selector"]["matchLabels"]
    assert chosen.items() <= by_pods.pods()[NAME]["metadata"]["labels"].items()


@pytest.mark.parametrize("value", [{"every": "often"}, {"every": 60}, {"timeout": 0}, {"port": 70_000}, {"evry": "1m"}])
def test_what_it_could_not_take_is_refused(chart: helm_python.Chart, value: dict[str, Any]) -> None:
    with pytest.raises(helm_python.HelmValuesError):
        chart.validate_schema(merged(values_of("canary"), {"canary": value}))
