"""What a pipeline.yaml may say, as frozen values; must not know how files are read or who uses them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from infra.spec_checks import (
    RESERVED_FIELDS,
    Named,
    Parts,
    findings,
    kafka_findings,
    learner_findings,
    registry_findings,
    schema_findings,
    slice_findings,
    store_findings,
    window_findings,
)
from infra.spec_dashboard import Dashboard, Prices, Targets
from infra.spec_events import Condition, EventField, Events, Feedback, Impressions, Join, Samples, Topic
from infra.spec_feature import (
    BucketFeature,
    CrossFeature,
    Feature,
    IdFeature,
    KeyedFeature,
    NumberFeature,
)
from infra.spec_gate import Gate
from infra.spec_model import Loss, ModelName, Widths, loss_findings, unused_settings
from infra.spec_part import FieldName, FieldType, Name, Part, Secret, Span, refuse
from infra.spec_table import (
    AdaptiveRows,
    Admission,
    DenseOptimizer,
    Eviction,
    Initializer,
    Optimizer,
    Rung,
    Schedule,
    Table,
)
from infra.units import ByteSize, Duration

__all__ = [
    "RESERVED_FIELDS",
    "AdaptiveRows",
    "Admission",
    "BucketFeature",
    "Condition",
    "CrossFeature",
    "Dashboard",
    "DenseOptimizer",
    "EventField",
    "Events",
    "Eviction",
    "Feature",
    "Feedback",
    "FieldName",
    "FieldType",
    "Gate",
    "IdFeature",
    "Impressions",
    "Initializer",
    "Join",
    "KeyedFeature",
    "Loss",
    "Name",
    "NumberFeature",
    "Optimizer",
    "Part",
    "Prices",
    "Rung",
    "Samples",
    "Schedule",
    "Secret",
    "Table",
    "Targets",
    "Topic",
]


class Sasl(Part):
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: Secret
    password: Secret


class Tls(Part):
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    key_password: Secret | None = None


class Kafka(Part):
    bootstrap: str = Field(min_length=1)
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    sasl: Sasl | None = None
    tls: Tls | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse(kafka_findings(self))
        return self


class SchemaRegistry(Part):
    """Where the schemas of Avro events are; the protocol is Confluent's."""

    url: str = Field(pattern=r"^https?://[^/]+")
    username: Secret | None = None
    password: Secret | None = None
    ca: str | None = None  # a PEM file; None trusts the authorities that the machine trusts

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse(registry_findings(self))
        return self


class Flink(Part):
    """The cluster; ``mode`` application is one that submits the join itself and runs nothing else (docs/flink.md)."""

    mode: Literal["session", "application"] = "session"
    rest: str = Field(default="http://127.0.0.1:8081", pattern=r"^https?://[^/]+")
    parallelism: int = Field(default=1, ge=1)
    checkpoint_interval: Span = Duration("10s")
    checkpoints: str | None = None  # s3://bucket/prefix; None keeps Flink's own default


class Model(Part):
    """The dense part. ``name`` is a built-in model's, or ``module:function`` of the user's (docs/models.md)."""

    name: ModelName = "deepfm"
    hidden: Widths = (64, 32)
    cross_layers: int = Field(default=2, ge=1, le=16)
    cross_rank: int | None = Field(default=None, ge=1)  # None: full matrices
    # What `din` compares: a feature with one row, and a sequence.
    candidate: FieldName | None = None
    history: FieldName | None = None
    attention: Widths = (36,)
    bottom: Widths = (64,)
    experts: int = Field(default=4, ge=1, le=256)
    tower: Widths = (16,)
    settings: dict[str, JsonValue] = Field(default={})
    loss: Loss = Loss()
    optimizer: DenseOptimizer = DenseOptimizer()

    @model_validator(mode="after")
    def _uses_what_is_set(self) -> Self:
        refuse(unused_settings(self))
        return self


class Learner(Part):
    commit_interval: Span = Duration("1s")
    heartbeat_interval: Span = Duration("10s")
    max_batch: int = Field(default=1024, ge=1, le=65536)
    # How long samples may wait for others to share their batch; a learner that is behind takes full ones at once.
    batch_latency: Duration = Duration("50ms")
    # 0: each step sees the rows of the one before; 1: those of the one before that, and both share the cores.
    staleness: Literal[0, 1] = 0
    seed: int = 1
    threads: int = Field(default=1, ge=1)
    sample_id_window: Span = Duration("1h")
    quality_bucket: Span = Duration("10s")
    # Columns of few values, by each of which quality is told, too.
    quality_slices: tuple[FieldName, ...] = Field(default=(), max_length=8)
    host: str = "127.0.0.1"
    port: int = Field(default=8600, ge=0, le=65535)

    @model_validator(mode="after")
    def _is_heard_in_time(self) -> Self:
        refuse(learner_findings(self))
        return self


class Store(Part):
    """An object store with conditional writes: s3://bucket/prefix, file:///folder or memory://name."""

    url: str = Field(pattern=r"^(s3://[^/]+|file:///|memory://).*$")
    endpoint: str | None = Field(default=None, pattern=r"^https?://[^/]+")
    region: str = "us-east-1"
    access_key: Secret | None = None
    secret_key: Secret | None = None
    path_style: bool = True
    poll_interval: Span = Duration("100ms")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse(store_findings(self))
        return self


class Serving(Part):
    """How replicas answer.

    Attributes:
        user_fields: Fields that requests mostly send once for all their candidates; what a model computes of them alone
            is then computed once, too.
        kept_versions: How many of the newest versions answer when they are asked for by number.
        grpc_port: Where gRPC is served; nowhere unless it is given. 0 takes a free port.
        predictors: Processes that answer, each with cores of its own where there are several; they share one model.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8500, ge=0, le=65535)
    max_candidates: int = Field(default=4096, ge=1)
    user_fields: tuple[str, ...] = ()
    kept_versions: int = Field(default=3, ge=1, le=100)
    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    predictors: int = Field(default=1, ge=1, le=256)
    max_body: ByteSize = ByteSize("16MiB")


class JoinControl(Part):
    """Where the join's controller answers /metrics and /status, and how often it sends heartbeats."""

    host: str = "127.0.0.1"
    port: int = Field(default=8700, ge=0, le=65535)
    # A verdict of no click waits for the next one on average half of it, and they then come in clumps.
    heartbeat_interval: Span = Duration("50ms")


class Probe(Part):
    """Synthetic impressions with a reserved id prefix; weight 0 leaves the model as it is."""

    enabled: bool = False
    weight: float = Field(default=0.0, ge=0)


class Slo(Part):
    behind: Span = Duration("10s")


class Pipeline(Part):
    """One model: from two topics to its replicas."""

    name: Name
    kafka: Kafka
    schema_registry: SchemaRegistry | None = None
    events: Events
    join: Join = Join()
    control: JoinControl = JoinControl()
    flink: Flink = Flink()
    samples: Samples = Samples()
    features: tuple[Feature, ...] = Field(min_length=1)
    tables: tuple[Table, ...] = ()
    model: Model = Model()
    learner: Learner = Learner()
    gate: Gate = Gate()
    store: Store
    serving: Serving = Serving()
    dashboard: Dashboard = Dashboard()
    probe: Probe = Probe()
    slo: Slo = Slo()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        parts = _parts(self)
        slices = slice_findings(parts, self.learner.quality_slices)
        refuse(
            [
                *findings(parts),
                *window_findings(parts, self.join),
                *schema_findings(self.events, self.schema_registry),
                *loss_findings(self.model.loss, self.join),
                *slices,
            ]
        )
        return self


def _parts(pipeline: Pipeline) -> Parts:
    fields = pipeline.events.impressions.fields
    return Parts(
        events=pipeline.events,
        fields=tuple(Named(index, field.name) for index, field in enumerate(fields)),
        valid_fields=dict(enumerate(fields)),
        tables=tuple(Named(index, table.name) for index, table in enumerate(pipeline.tables)),
        valid_tables=dict(enumerate(pipeline.tables)),
        features=tuple(Named(index, feature.name) for index, feature in enumerate(pipeline.features)),
        valid_features=dict(enumerate(pipeline.features)),
        features_complete=True,
        model=pipeline.model,
    )
