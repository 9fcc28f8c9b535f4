"""Every values file renders to objects that Kubernetes takes and that find each other; pods are held back."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate
import pytest

from infra.pipeline_file import parse_pipeline
from tests.helm.conftest import CASES, CHART, NAMESPACE, Rendered, render, values_of

KUBERNETES = "1.37"
CRDS = Path(__file__).with_name("crds")
# What the processes answer; Flink's JobManager, too.
PATHS = {"/healthz", "/readyz", "/overview"}
# Whose kinds Kubernetes itself does not know.
OF_OPERATORS = {"monitoring.coreos.com", "gateway.networking.k8s.io", "flink.apache.org"}

STATUS_ROLES = {"join", "learner", "replicas", "page", "canary"}


@cache
def validate(text: str) -> None:
    """Holds an object against its schema, once, since many files have it; a kind without one is an error."""
    document: dict[str, Any] = json.loads(text)
    version: str = document["apiVersion"]
    if version.partition("/")[0] in OF_OPERATORS:
        name = f"{version.replace('/', '_')}_{document['kind'].lower()}.json"
        jsonschema.validate(document, json.loads((CRDS / name).read_text("utf-8")))
    else:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_kubernetes_takes_every_object(rendered: Rendered) -> None:
    for rendered_one in rendered.objects:
        document = dict(rendered_one)
        if document["kind"] == "FlinkDeployment":
            # The newest CRD that can be had here ends at Flink 1.20; an operator for 2.3 knows one more word.
            assert document["spec"]["flinkVersion"] == "v2_3"
            document["spec"] = document["spec"] | {"flinkVersion": "v1_20"}
        validate(json.dumps(document, sort_keys=True))
        assert document["metadata"].get("namespace") == NAMESPACE


def test_names_are_unique_and_short_enough(rendered: Rendered) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in rendered.objects]
    assert len(names) == len(set(names))
    assert all(len(name) <= 63 for _, name in names)


def test_pods_meet_the_restricted_standard(rendered: Rendered) -> None:
    for name, pod in (rendered.pods() | rendered.operators_pods()).items():
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["spec"].keys() & {"hostNetwork", "hostPID", "hostIPC"}
        volumes = {key for volume in pod["spec"]["volumes"] for key in volume if key != "name"}
        assert volumes <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
        for container in pod["spec"]["containers"] + pod["spec"].get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            # The operator says what its own container may take.
            if name not in rendered.operators_pods():
                assert container["resources"].keys() == {"limits", "requests"}


def test_a_token_is_mounted_only_beside_a_workload_identity(chart: helm_python.Chart) -> None:
    pods = render(chart, values_of("bare")).pods()
    mounted = {name for name, pod in pods.items() if pod["spec"]["automountServiceAccountToken"]}
    assert mounted == {"shop-clicks-learner"}
    assert pods["shop-clicks-replicas"]["spec"]["serviceAccountName"] == "reader"


def test_no_environment_variable_comes_twice(rendered: Rendered) -> None:
    """Helm 4 applies on the server's side, which refuses it."""
    for name, pod in rendered.pods().items():
        for container in pod["spec"]["containers"]:
            names = [variable["name"] for variable in container.get("env", [])]
            assert len(names) == len(set(names)), name


def test_every_process_that_answers_is_probed_where_it_answers(rendered: Rendered) -> None:
    pipeline = parse_pipeline(rendered.pipeline())
    ports = {
        "join": pipeline.control.port,
        "learner": pipeline.learner.port,
        "replicas": pipeline.serving.port,
        "page": pipeline.dashboard.port,
        "canary": values_of("canary")["canary"]["port"],
    }
    for pod in rendered.pods().values():
        role = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        container = pod["spec"]["containers"][0]
        probes = {
            kind: container[f"{kind}Probe"]
            for kind in ("startup", "liveness", "readiness")
            if f"{kind}Probe" in container
        }
        if role in {"compactor", "test", "events"}:  # they answer nobody
            assert probes == {}
            continue
        assert len(probes) == 3, role
        named = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe in probes.values():
            assert (probe.get("httpGet") or probe["tcpSocket"])["port"] in named
            assert "httpGet" not in probe or probe["httpGet"]["path"] in PATHS
        if role in STATUS_ROLES:
            assert named["http"] == ports[role]
            assert probes["liveness"]["httpGet"]["path"] == "/healthz"
            assert probes["readiness"]["httpGet"]["path"] == "/readyz"


def test_every_address_of_the_configuration_leads_to_a_pod(rendered: Rendered) -> None:
    """Each URL of the namespace names a Service, whose selector finds one role's pods with that port."""
    configuration = "\n".join(text for each in rendered.of("ConfigMap").values() for text in each["data"].values())
    services, pods = rendered.of("Service"), rendered.pods().values()
    if rendered.of("FlinkDeployment"):
        # This Service is the operator's.
        configuration = configuration.replace(f"http://demo-springtide-flink-rest.{NAMESPACE}.svc:8081", "")
    found = re.findall(rf"http://([a-z0-9-]+)\.{NAMESPACE}\.svc:(\d+)", configuration)
    assert found
    for name, port in found:
        service = services[name]["spec"]
        entry = next(each for each in service["ports"] if each["port"] == int(port))
        chosen = [pod for pod in pods if service["selector"].items() <= pod["metadata"]["labels"].items()]
        assert len(chosen) == 1, name
        assert entry["targetPort"] in {each["name"] for each in chosen[0]["spec"]["containers"][0]["ports"]}
    for service in services.values():
        chosen = [pod for pod in pods if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
        assert len(chosen) == 1, service["metadata"]["name"]


def test_owners_select_their_own_pods_only(rendered: Rendered) -> None:
    pods = rendered.pods()
    for kind in ("Deployment", "StatefulSet"):
        for name, owner in rendered.of(kind).items():
            labels = owner["spec"]["selector"]["matchLabels"].items()
            assert [each for each, pod in pods.items() if labels <= pod["metadata"]["labels"].items()] == [name]


def test_every_account_claim_and_configuration_is_there(rendered: Rendered) -> None:
    accounts = rendered.of("ServiceAccount").keys() | {"reader", "default"}
    claims = rendered.of("PersistentVolumeClaim").keys() | {"history"}
    for pod in rendered.pods().values():
        spec = pod["spec"]
        assert spec.get("serviceAccountName", "default") in accounts
        containers = spec["containers"] + spec.get("initContainers", [])
        mounts = {mount["name"] for container in containers for mount in container["volumeMounts"]}
        assert mounts == {volume["name"] for volume in spec["volumes"]}
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in rendered.of("ConfigMap")
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims


def test_an_autoscaler_alone_says_how_many_replicas_there_are(chart: helm_python.Chart) -> None:
    release = render(chart, values_of("autoscaled"))
    deployment = release.of("Deployment")["demo-springtide-replicas"]
    assert "replicas" not in deployment["spec"]
    scaler = release.of("HorizontalPodAutoscaler")["demo-springtide-replicas"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert render(chart, values_of("minimal")).of("HorizontalPodAutoscaler") == {}


def test_a_changed_pipeline_restarts_every_pod_that_reads_it(chart: helm_python.Chart) -> None:
    def checksums(window: str) -> dict[str, str]:
        values = values_of("minimal")
        values["pipeline"]["join"] = {"window": window}
        pods = render(chart, values).pods()
        return {name: pod["metadata"]["annotations"].get("checksum/config", "") for name, pod in pods.items()}

    before, after = checksums("10m"), checksums("20m")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"demo-springtide-{role}" for role in ("join", "learner", "compactor", "replicas", "page")}


def test_several_releases_share_a_namespace(chart: helm_python.Chart) -> None:
    first, second = (render(chart, values_of("watched"), release) for release in ("clicks", "orders"))
    names = [{(each["kind"], each["metadata"]["name"]) for each in release.objects} for release in (first, second)]
    assert names[0].isdisjoint(names[1])
    for service in first.of("Service").values():
        chosen = service["spec"]["selector"].items()
        assert not any(chosen <= pod["metadata"]["labels"].items() for pod in second.pods().values())


def test_a_long_name_is_cut(chart: helm_python.Chart) -> None:
    release = render(chart, values_of("watched"), "a-release-whose-name-is-as-long-as-helm-allows-them-x")
    test_names_are_unique_and_short_enough(release)


def test_flink_waits_out_the_failures_that_the_local_cluster_waits_out(chart: helm_python.Chart) -> None:
    from infra.local.flink_settings import FAILURES

    configuration = render(chart, values_of("minimal")).of("ConfigMap")["demo-springtide-flink"]["data"]["config.yaml"]
    settings = dict(re.findall(r'^([a-z0-9.-]+): "(.*)"$', configuration, re.MULTILINE))
    assert FAILURES.items() <= settings.items()
    assert settings["jobmanager.rpc.port"] == "6123"


def test_flinks_own_settings_win(chart: helm_python.Chart) -> None:
    configuration = render(chart, values_of("autoscaled")).of("ConfigMap")["demo-springtide-flink"]["data"][
        "config.yaml"
    ]
    for line in (
        'state.backend.type: "rocksdb"',
        'taskmanager.memory.managed.fraction: "0.5"',
        'heartbeat.timeout: "50000"',
    ):
        assert line in configuration


def test_a_network_policy_without_peers_lets_nobody_in(chart: helm_python.Chart) -> None:
    policies = render(chart, values_of("bare")).of("NetworkPolicy")
    assert policies["shop-clicks-compactor"]["spec"]["ingress"] == []
    for policy in policies.values():
        # An empty list of peers would mean everybody.
        assert all(rule["from"] for rule in policy["spec"]["ingress"])


@pytest.mark.parametrize("case", CASES)
def test_helms_lint_finds_nothing(case: str) -> None:
    report = helm_python.lint(CHART, values_of(case), strict=True)
    assert [each for each in report["messages"] if each["severity"] > 1] == []


def test_the_notes_name_what_is_there(rendered: Rendered) -> None:
    assert "kubectl wait" in rendered.notes and "helm test" in rendered.notes
    for kind, name in re.findall(r"\b(deployment|service)/([a-z0-9-]+)", rendered.notes):
        assert name in rendered.of(kind.capitalize())
