"""A real API server takes the chart, and its pods where only restricted ones may be: run by `make check-cluster`.

No kubelet and no controller are there: objects are judged and kept, and nothing runs.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest

from tests.helm.cluster import Cluster, cluster
from tests.helm.conftest import CASES, CHART, Rendered, files_of, render, values_of
from tests.helm.programs import helm

RELEASE = "demo"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        # One that a values file names; it is the cluster's, as nodes are.
        priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "serving"}}
        made.make("/apis/scheduling.k8s.io/v1/priorityclasses", priority | {"value": 1000})
        yield made


@pytest.fixture(scope="module")
def restricted(real: Cluster) -> str:
    return real.restricted_namespace("restricted")


@pytest.fixture(params=[3, 4], ids=["helm3", "helm4"])
def run(request: pytest.FixtureRequest, real: Cluster, tmp_path: Path) -> Callable[..., str]:
    """Runs Helm against the server, as its administrator."""

    def command(*arguments: str | Path) -> str:
        environment = {"HOME": str(tmp_path), "KUBECONFIG": str(real.kubeconfig), "PATH": os.environ["PATH"]}
        words = [str(helm(request.param)), *map(str, arguments)]
        ran = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "would violate PodSecurity" not in ran.stderr  # told of every owner whose pods would be refused
        return ran.stdout

    return command


def given(case: str) -> list[str | Path]:
    return [word for path in files_of(case) for word in ("-f", path)]


def kept(real: Cluster, namespace: str) -> dict[tuple[str, str], Any]:
    """What lies there and what it is to be; Helm's own notes on releases apart."""
    return {
        name: {key: one.get(key) for key in ("spec", "data", "stringData") if key in one}
        for name, one in real.within(namespace).items()
        if not name[1].startswith("sh.helm.release.")
    }


def test_a_release_comes_changes_goes_back_and_leaves_nothing(
    run: Callable[..., str], real: Cluster, request: pytest.FixtureRequest
) -> None:
    space = real.restricted_namespace(f"life-{request.node.callspec.id}")
    empty = real.within(space)
    notes = run("install", RELEASE, CHART, "--namespace", space, *given("minimal"))
    assert f"kubectl wait --namespace {space}" in notes
    first = kept(real, space)
    assert {name for kind, name in first if kind == "StatefulSet"} == {"demo-springtide-learner"}

    run("upgrade", RELEASE, CHART, "--namespace", space, *given("routed"))
    second = kept(real, space)
    assert {kind for kind, _ in second.keys() - first.keys()} == {
        "ConfigMap",
        "HTTPRoute",
        "NetworkPolicy",
        "PrometheusRule",
        "ServiceMonitor",
    }
    serving = second["Deployment", "demo-springtide-replicas"]["spec"]["template"]["spec"]["containers"][0]
    assert serving["image"] == "registry.example/springtide-serving:0.2.0"
    assert "behind: 1.5s" in second["ConfigMap", "demo-springtide-pipeline"]["data"]["pipeline.yaml"]

    run("rollback", RELEASE, "1", "--namespace", space)
    assert kept(real, space) == first
    run("uninstall", RELEASE, "--namespace", space)
    assert real.within(space) == empty


@pytest.mark.parametrize("case", [case for case in CASES if case != "minimal"])
def test_every_values_file_can_be_installed(run: Callable[..., str], real: Cluster, case: str, request: Any) -> None:
    space = real.restricted_namespace(f"{case}-{request.node.callspec.id[:5]}")
    run("install", RELEASE, CHART, "--namespace", space, *given(case))
    run("uninstall", RELEASE, "--namespace", space)
    assert real.within(space) == {}


@pytest.mark.parametrize("case", CASES)
def test_every_field_of_every_object_is_known(
    real: Cluster, restricted: str, chart: helm_python.Chart, case: str
) -> None:
    for one in render(chart, values_of(case)).objects:
        there = copy.deepcopy(one)
        there["metadata"]["namespace"] = restricted
        path = real.resources[one["apiVersion"], one["kind"]].format(restricted)
        answer = real.ask(
            "PATCH",
            f"{path}/{one['metadata']['name']}",
            there,
            dryRun="All",
            fieldManager="test",
            fieldValidation="Strict",
        )
        assert answer.is_success, answer.text


def bare(rendered: Rendered, space: str) -> Iterator[dict[str, Any]]:
    """Every pod template as a pod of its own: no controller is here to make them, and admission judges pods only."""
    whole = rendered.pods()
    for role, pod in rendered.operators_pods().items():
        # The operator names the image.
        containers = [each | {"image": "registry.example/flink"} for each in pod["spec"]["containers"]]
        whole[role.lower()] = pod | {"spec": pod["spec"] | {"containers": containers}}
    for name, pod in whole.items():
        about = {"name": f"{name}-bare", "namespace": space, "labels": pod["metadata"].get("labels", {})}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": pod["spec"]}


def admitted(real: Cluster, space: str, pod: dict[str, Any]) -> Any:
    return real.ask("POST", f"/api/v1/namespaces/{space}/pods", pod, dryRun="All", fieldValidation="Strict")


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_let_in_where_only_restricted_ones_are(
    real: Cluster, restricted: str, chart: helm_python.Chart, case: str
) -> None:
    pods = list(bare(render(chart, values_of(case)), restricted))
    assert len(pods) >= 5
    for pod in pods:
        answer = admitted(real, restricted, pod)
        assert answer.is_success, f"{pod['metadata']['name']}: {answer.text}"


BAD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "allowPrivilegeEscalation": lambda spec: spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "capabilities": lambda spec: spec["containers"][0]["securityContext"].pop("capabilities"),
    "runAsNonRoot": lambda spec: spec["securityContext"].pop("runAsNonRoot"),
    "runAsUser=0": lambda spec: spec["securityContext"].update(runAsUser=0),
    "seccompProfile": lambda spec: spec["securityContext"].pop("seccompProfile"),
    "host namespaces": lambda spec: spec.update(hostNetwork=True),
    "restricted volume types": lambda spec: spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
}


@pytest.mark.parametrize("why", BAD)
def test_a_pod_that_takes_more_is_refused(real: Cluster, restricted: str, chart: helm_python.Chart, why: str) -> None:
    """So that what is let in above was judged at all."""
    pod = next(bare(render(chart, values_of("minimal")), restricted))
    BAD[why](pod["spec"])
    answer = admitted(real, restricted, pod)
    assert answer.status_code == 403, answer.text
    message = answer.json()["message"]
    assert 'violates PodSecurity "restricted' in message and why in message
