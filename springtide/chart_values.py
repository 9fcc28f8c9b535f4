"""What the chart's values may say around a pipeline, with their defaults; knows no template and no cluster."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from infra.units import Duration

# Passed on to Kubernetes as they are; the API server judges them.
KubernetesObject = dict[str, Any]
Labels = dict[str, str]
FolderName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,251}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Part(BaseModel):
    """A part of the values; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Image(Part):
    repository: str = ""
    """Required. The images are `<repository>-<role>:<tag>`, of the roles join, flink, learner, serving and page."""
    tag: str = ""
    """Empty: the chart's appVersion."""
    tags: dict[Literal["join", "flink", "learner", "serving", "page"], str] = {}
    """Role -> a tag in place of `tag`: for an upgrade in two steps, replicas (`serving`) first, then the rest."""
    pullPolicy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pullSecrets: list[str] = []
    """Names of Secrets of the registry."""


class ServiceAccount(Part):
    create: bool = True
    """False: `name` is there already, or the namespace's default is taken."""
    name: str = ""
    """Empty: named after the release and the role."""
    annotations: Labels = {}
    """Where a cloud binds a workload identity to the account. Without one its token is in no pod."""


class Role(Part):
    """What every role's pods may be told."""

    serviceAccount: ServiceAccount = ServiceAccount()
    podLabels: Labels = {}
    podAnnotations: Labels = {}
    extraEnv: list[KubernetesObject] = []
    """Further environment variables of the container, such as one that a secret of the pipeline names."""
    nodeSelector: Labels = {}
    tolerations: list[KubernetesObject] = []
    affinity: KubernetesObject = {}
    priorityClassName: str = ""
    terminationGracePeriodSeconds: Annotated[int, Field(ge=1)] = 30


def _resources(cpu: str, memory: str) -> KubernetesObject:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}


class Join(Role):
    resources: KubernetesObject = _resources("250m", "1536Mi")
    """The JVM that plans the join takes most of it, for some seconds."""
    extraArgs: list[str] = []
    """Behind `springtide join pipeline.yaml`, such as `--upgrade`."""


class Ports(Part):
    rest: Port = 8081
    rpc: Port = 6123
    blob: Port = 6124


class JobManager(Role):
    memoryMiB: Annotated[int, Field(ge=1024)] = 1600
    """Of the whole process; requested and allowed."""
    cpu: str = "250m"
    ports: Ports = Ports()


class TaskManager(Role):
    replicas: Annotated[int, Field(ge=1)] = 1
    slots: Annotated[int, Field(ge=1)] = 4
    """Of each. `springtide join --upgrade` runs two joins for a while, which take twice `flink.parallelism`."""
    memoryMiB: Annotated[int, Field(ge=1024)] = 2048
    """Of the whole process; requested and allowed."""
    cpu: str = "500m"
    rpcPort: Port = 6122


class Operator(Part):
    flinkVersion: Annotated[str, Field(pattern=r"^v[0-9]+_[0-9]+$")] = "v2_3"
    """As the operator names it; an operator that does not know 2.3 refuses it."""
    serviceAccount: str = "flink"
    """The account that the operator made for Flink's pods in this namespace."""


class Flink(Part):
    mode: Literal["standalone", "operator", "existing"] = "standalone"
    """standalone: a cluster of this release. operator: the same, as a FlinkDeployment of the Flink Kubernetes operator,
    which must be there. existing: the session cluster at `pipeline.flink.rest`."""
    operator: Operator = Operator()
    settings: dict[str, str | int | float | bool] = {}
    """Go over those in the cluster's config.yaml, such as `state.backend.type: rocksdb`."""
    jobManager: JobManager = JobManager()
    taskManager: TaskManager = TaskManager()


class Learner(Role):
    terminationGracePeriodSeconds: Annotated[int, Field(ge=1)] = 60
    """SIGTERM lets the learner commit what it has learned; it takes a second or two while the store answers."""
    resources: KubernetesObject = _resources("1", "4Gi")


class Compactor(Role):
    enabled: bool = True
    collect: bool = True
    """Whether it also deletes what no replica, pin or lease can want any more."""
    keep: Annotated[int, Field(ge=1)] = 1000
    """The newest so many versions are kept, each of them."""
    keepHours: Annotated[float, Field(ge=0)] = 6
    """All versions younger than this are kept."""
    resources: KubernetesObject = _resources("100m", "2Gi")


class Autoscaling(Part):
    enabled: bool = False
    minReplicas: Annotated[int, Field(ge=1)] = 2
    maxReplicas: Annotated[int, Field(ge=1)] = 10
    targetCPUUtilizationPercentage: Annotated[int, Field(ge=1, le=100)] = 70
    behavior: KubernetesObject = {}


class DisruptionBudget(Part):
    enabled: bool = True
    maxUnavailable: int | str = 1


class Service(Part):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    annotations: Labels = {}


class IngressHost(Part):
    host: str
    path: str = "/"
    pathType: Literal["Exact", "Prefix", "ImplementationSpecific"] = "Prefix"


class Ingress(Part):
    enabled: bool = False
    className: str = ""
    annotations: Labels = {}
    hosts: list[IngressHost] = []
    tls: list[KubernetesObject] = []


class HttpRoute(Part):
    enabled: bool = False
    """Needs the CRDs of the Gateway API."""
    annotations: Labels = {}
    parentRefs: list[KubernetesObject] = []
    """The gateways, such as `{name: public, namespace: gateways}`."""
    hostnames: list[str] = []


class Replicas(Role):
    count: Annotated[int, Field(ge=1)] = 2
    """Without autoscaling."""
    autoscaling: Autoscaling = Autoscaling()
    podDisruptionBudget: DisruptionBudget = DisruptionBudget()
    spread: Literal["none", "soft", "hard"] = "soft"
    """Over zones and nodes; hard: a pod without such a place waits."""
    service: Service = Service()
    ingress: Ingress = Ingress()
    httpRoute: HttpRoute = HttpRoute()
    resources: KubernetesObject = _resources("1", "3Gi")


class Persistence(Part):
    enabled: bool = True
    """False: the page's history ends with its pod."""
    existingClaim: str = ""
    size: str = "1Gi"
    storageClassName: str = ""
    """Empty: the cluster's default."""
    accessModes: list[str] = ["ReadWriteOnce"]
    annotations: Labels = {}


class Page(Role):
    enabled: bool = True
    persistence: Persistence = Persistence()
    service: Service = Service()
    ingress: Ingress = Ingress()
    httpRoute: HttpRoute = HttpRoute()
    resources: KubernetesObject = _resources("100m", "512Mi")


class Canary(Role):
    enabled: bool = False
    """Sends an impression and its click so often, and tells Prometheus when every replica had learned them; wants
    `pipeline.probe.enabled`."""
    every: Duration = Duration("1m")
    """From one probe to the next; the alert wants at least one in two minutes."""
    timeout: Annotated[int, Field(ge=1, le=86_400)] = 60
    """Seconds until a probe counts as lost."""
    port: Port = 8900
    """Of `/metrics`, `/healthz` and `/readyz`."""
    resources: KubernetesObject = _resources("50m", "256Mi")


class PodMonitor(Part):
    enabled: bool = False
    """Needs the Prometheus operator's CRDs."""
    labels: Labels = {}
    """Those that your Prometheus selects monitors by, often `release: <its release>`."""
    interval: str = "15s"


class ServiceMonitor(Part):
    enabled: bool = False
    """The same by way of the Services; one of both is enough."""
    labels: Labels = {}
    interval: str = "15s"


class PrometheusRule(Part):
    enabled: bool = False
    """The alerts, with `pipeline.slo.behind` as their limit. They hold for every model that one Prometheus knows:
    enable them in one release of those that it reads."""
    labels: Labels = {}
    """Those that your Prometheus selects rules by."""


class GrafanaDashboard(Part):
    enabled: bool = False
    """A ConfigMap that Grafana's sidecar finds by its label."""
    labels: Labels = {"grafana_dashboard": "1"}
    annotations: Labels = {}
    """Such as the folder, where your sidecar reads one."""


class NetworkPolicy(Part):
    enabled: bool = False
    """Lets in only what a role is asked by: of this release, and the peers below."""
    egress: list[KubernetesObject] = []
    """Rules of what may go out, as in a NetworkPolicy: Kafka, the store, a registry. Names and what is asked within the
    release are added. Without any, what goes out is not limited."""
    clients: list[KubernetesObject] = [{"namespaceSelector": {}}]
    """Peers that may ask replicas and the page."""
    monitoring: list[KubernetesObject] = []
    """Peers that may read metrics."""


class DevelopmentKafka(Part):
    image: str = "apache/kafka:4.1.1"
    """Anything with `java` in its path and Kafka's jars in /opt/kafka/libs."""
    heapMiB: Annotated[int, Field(ge=128)] = 512


class DevelopmentStore(Part):
    image: str = "chrislusf/seaweedfs:4.05"
    """Anything with SeaweedFS's `weed` in its path."""


class DevelopmentEvents(Part):
    perSecond: Annotated[float, Field(gt=0, le=10_000)] = 20
    """Impressions a second, of made-up people and items; about a quarter is clicked."""


class Development(Part):
    enabled: bool = False
    """A Kafka broker, an S3 server and a stream of made-up events, for a first look: all data end with their pods, and
    whoever reaches them may read and write (helm/quickstart.yaml)."""
    kafka: DevelopmentKafka = DevelopmentKafka()
    store: DevelopmentStore = DevelopmentStore()
    events: DevelopmentEvents = DevelopmentEvents()


class Tests(Part):
    probe: bool = False
    """Whether `helm test` also sends a probe through the loop; wants `pipeline.probe.enabled`."""
    probeTimeoutSeconds: Annotated[int, Field(ge=1)] = 60


class Values(Part):
    """Everything but the pipeline."""

    nameOverride: str = ""
    fullnameOverride: str = ""
    """What every object's name begins with; without it the release's name and `springtide`."""
    commonLabels: Labels = {}
    image: Image = Image()
    secrets: dict[FolderName, str] = {}
    """Folder -> name of a Secret that is there. Its keys become files `/etc/springtide/secrets/<folder>/<key>`, which
    the pipeline names, as in `password: {file: /etc/springtide/secrets/kafka/password}`."""
    files: dict[FileName, str] = {}
    """Name -> text of files beside the pipeline in `/etc/springtide/config`: a model of your own, a .proto."""
    extraEnv: list[KubernetesObject] = []
    """Environment variables of all of Springtide's containers."""
    join: Join = Join()
    flink: Flink = Flink()
    learner: Learner = Learner()
    compactor: Compactor = Compactor()
    replicas: Replicas = Replicas()
    page: Page = Page()
    canary: Canary = Canary()
    podMonitor: PodMonitor = PodMonitor()
    serviceMonitor: ServiceMonitor = ServiceMonitor()
    prometheusRule: PrometheusRule = PrometheusRule()
    grafanaDashboard: GrafanaDashboard = GrafanaDashboard()
    networkPolicy: NetworkPolicy = NetworkPolicy()
    tests: Tests = Tests()
    development: Development = Development()
    global_: dict[str, JsonValue] = Field(default={}, alias="global")
    """Shared with other charts where this one is a part of theirs; not read."""
