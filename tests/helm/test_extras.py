"""What is switched on for monitoring, routes, an operator or a first look fits the release it is switched on in."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import helm_python
import kubernetes_validate
import orjson
import pytest
import yaml

from dashboard.monitoring.alerts import Limits
from dashboard.monitoring.grafana import grafana
from dashboard.monitoring.rules import rules
from infra.pipeline_file import parse_pipeline
from springtide.chart_events import made_up
from tests.helm.conftest import CHART, Rendered, merged, read, render, values_of

SWITCHED = {
    "PodMonitor": "podMonitor",
    "ServiceMonitor": "serviceMonitor",
    "PrometheusRule": "prometheusRule",
    "NetworkPolicy": "networkPolicy",
    "HTTPRoute": "replicas.httpRoute",
    "Ingress": "replicas.ingress",
    "HorizontalPodAutoscaler": "replicas.autoscaling",
    "PodDisruptionBudget": "replicas.podDisruptionBudget",
    "Secret": "development",
}


@pytest.fixture(scope="module")
def routed(chart: helm_python.Chart) -> Rendered:
    return render(chart, values_of("routed"))


@pytest.mark.parametrize("kind", SWITCHED)
def test_each_extra_has_a_switch_that_is_off_where_it_needs_others(chart: helm_python.Chart, kind: str) -> None:
    alone = kind == "PodDisruptionBudget"
    assert bool(render(chart, values_of("minimal")).of(kind)) == alone
    switch = read((CHART / "values.yaml").read_text("utf-8"))
    for key in SWITCHED[kind].split("."):
        switch = switch[key]
    assert switch["enabled"] is alone


def test_the_alerts_have_the_pipelines_own_limits(routed: Rendered) -> None:
    rule = routed.of("PrometheusRule")["demo-springtide-alerts"]
    assert rule["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert rule["spec"] == yaml.safe_load(rules(Limits(behind_s=1.5, heartbeat_s=8)))


def test_the_alerts_have_the_defaults_of_a_pipeline_that_says_nothing(chart: helm_python.Chart) -> None:
    release = render(chart, merged(values_of("minimal"), {"prometheusRule": {"enabled": True}}))
    assert release.of("PrometheusRule")["demo-springtide-alerts"]["spec"] == yaml.safe_load(rules(Limits()))


def test_grafanas_sidecar_finds_the_dashboard_as_it_is(routed: Rendered) -> None:
    found = routed.of("ConfigMap")["demo-springtide-grafana"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Springtide"}
    assert orjson.loads(found["data"]["demo-springtide.json"]) == orjson.loads(grafana())


@pytest.mark.parametrize(("case", "kind"), [("routed", "ServiceMonitor"), ("watched", "PodMonitor")])
def test_every_target_carries_its_model(chart: helm_python.Chart, case: str, kind: str) -> None:
    """The alerts are told apart by it, and no process says it itself."""
    spec = render(chart, values_of(case)).of(kind)["demo-springtide-metrics"]["spec"]
    (endpoint,) = spec.get("endpoints") or spec["podMetricsEndpoints"]
    assert {"targetLabel": "model", "replacement": "clicks"} in endpoint["relabelings"]


def test_a_service_monitor_reads_each_pod_once(routed: Rendered) -> None:
    chosen = routed.of("ServiceMonitor")["demo-springtide-metrics"]["spec"]["selector"]["matchLabels"].items()
    services = [each for each in routed.of("Service").values() if chosen <= each["metadata"]["labels"].items()]
    roles = [each["spec"]["selector"]["app.kubernetes.io/component"] for each in services]
    assert sorted(roles) == ["join", "learner", "page", "replicas"]
    assert all(any(port["name"] == "http" for port in each["spec"]["ports"]) for each in services)


def test_a_route_leads_to_a_port_of_its_service(routed: Rendered) -> None:
    routes = routed.of("HTTPRoute")
    assert routes.keys() == {"demo-springtide-replicas", "demo-springtide-page"}
    for name, route in routes.items():
        ((backend,),) = ([rule["backendRefs"] for rule in route["spec"]["rules"]],)
        (target,) = backend
        assert target["name"] == name
        assert target["port"] in {port["port"] for port in routed.of("Service")[name]["spec"]["ports"]}


def test_limits_of_what_goes_out_leave_names_and_the_release(routed: Rendered) -> None:
    for name, policy in routed.of("NetworkPolicy").items():
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"], name
        names, within, own = policy["spec"]["egress"]
        assert {port["port"] for port in names["ports"]} == {53}
        chosen = within["to"][0]["podSelector"]["matchLabels"].items()
        assert all(chosen <= pod["metadata"]["labels"].items() for pod in routed.pods().values())
        assert own["to"] == [{"ipBlock": {"cidr": "10.0.0.0/8"}}]


def test_an_upgrade_can_begin_with_the_replicas(routed: Rendered) -> None:
    images = {name: pod["spec"]["containers"][0]["image"] for name, pod in routed.pods().items()}
    assert images["demo-springtide-replicas"] == "registry.example/springtide-serving:0.2.0"
    assert {image.rpartition(":")[2] for name, image in images.items() if "replicas" not in name} == {"0.1.0"}


def test_an_operator_gets_what_the_release_itself_would_start(chart: helm_python.Chart) -> None:
    release, own = (render(chart, values_of(case)) for case in ("operator", "minimal"))
    spec = release.of("FlinkDeployment")["demo-springtide-flink"]["spec"]
    assert "job" not in spec  # a session cluster
    assert spec["serviceAccount"] == "flink-here"
    assert (spec["jobManager"]["resource"]["cpu"], spec["taskManager"]["resource"]["cpu"]) == (1, 1.5)
    told = own.of("ConfigMap")["demo-springtide-flink"]["data"]["config.yaml"]
    settings = dict(re.findall(r'^([A-Za-z0-9.-]+): "(.*)"$', told, re.MULTILINE))
    of_addresses = {key for key in settings if re.search(r"host|port|address|memory", key)}
    assert spec["flinkConfiguration"] == {
        **{key: value for key, value in settings.items() if key not in of_addresses},
        "state.backend.type": "rocksdb",
    }
    assert parse_pipeline(release.pipeline()).flink.rest == "http://demo-springtide-flink-rest.prod.svc:8081"
    for pod in release.operators_pods().values():
        kubernetes_validate.validate(
            pod | {"spec": pod["spec"] | {"containers": [pod["spec"]["containers"][0] | {"image": "x"}]}},
            "1.37",
            strict=True,
        )
        keys = {one["name"]: one.get("valueFrom") for one in pod["spec"]["containers"][0]["env"]}
        assert keys["AWS_ACCESS_KEY_ID"] == {"secretKeyRef": {"name": "store-keys", "key": "access_key"}}


def test_a_first_look_warns_first(chart: helm_python.Chart) -> None:
    notes = render(chart, values_of("quickstart"), "springtide").notes
    assert notes.index("WARNING") < notes.index("kubectl wait")
    assert "WARNING" not in render(chart, values_of("minimal")).notes


def test_made_up_people_click_most_on_what_they_like(chart: helm_python.Chart) -> None:
    pipeline = parse_pipeline(render(chart, values_of("quickstart"), "springtide").pipeline())
    fields = pipeline.events.impressions.fields
    events = [event for event, _ in zip(made_up(fields, 20, "run"), range(4000), strict=False)]
    assert len({event.key for event in events}) == len(events)
    assert events[40].time_ms - events[20].time_ms == 1000
    shares = {}
    for liked in (True, False):
        some = [
            event.click_after is not None
            for event in events
            if (int(str(event.fields["user"]).rpartition("-")[2]) % 5 == int(str(event.fields["category"])[-1]))
            == liked
        ]
        shares[liked] = sum(some) / len(some)
    assert shares[True] > 0.5 and shares[False] < 0.2, shares
    assert events[0].fields.keys() == {field.name for field in fields}
