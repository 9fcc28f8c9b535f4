"""Which rights a pipeline wants on Kafka and on the object store, and whose they are; knows names, asks no server."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from infra.spec import Pipeline
from streaming import topics

Role = Literal["join", "learner", "replica", "page", "probe", "doctor", "forget", "compact", "flink"]
Operation = Literal["Read", "Write", "Create", "Delete", "Describe", "DescribeConfigs", "AlterConfigs"]


@dataclass(frozen=True)
class KafkaRight:
    """Operations on one resource, as `kafka-acls.sh` names them; to read or write implies to describe.

    Attributes:
        resource: Its kind.
        name: Its name, or what its name begins with.
        prefixed: Whether ``name`` is a beginning.
        operations: What is done with it.
        roles: By whom.
    """

    resource: Literal["topic", "group", "transactional-id"]
    name: str
    prefixed: bool
    operations: tuple[Operation, ...]
    roles: tuple[Role, ...]

    def command(self, bootstrap: str, principal: str) -> str:
        """The command that grants it."""
        operations = "".join(f" --operation {each}" for each in self.operations)
        pattern = "prefixed" if self.prefixed else "literal"
        return (
            f"kafka-acls.sh --bootstrap-server {bootstrap} --add --allow-principal {principal}{operations} "
            f"--{self.resource} {self.name} --resource-pattern-type {pattern}"
        )

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "resource": self.resource,
            "name": self.name,
            "pattern": "prefixed" if self.prefixed else "literal",
            "operations": list(self.operations),
            "roles": list(self.roles),
        }


def kafka_rights(pipeline: Pipeline) -> list[KafkaRight]:
    """What all roles of ``pipeline`` together want of the brokers; replicas want nothing."""
    found = [_read(topic, ("join", "page", "doctor")) for topic in topics.user_topics(pipeline)]
    if pipeline.probe.enabled:
        sent = (pipeline.events.impressions.topic, pipeline.events.feedback[0].topic)
        found += [KafkaRight("topic", topic, False, ("Read", "Write"), ("probe",)) for topic in dict.fromkeys(sent)]
    own = topics.own_prefix(pipeline.name)
    if pipeline.samples.of is None:
        work: tuple[Operation, ...] = ("Read", "Write", "Create", "DescribeConfigs", "AlterConfigs")
        found.append(KafkaRight("topic", own, True, work, ("join", "learner", "page", "doctor")))
    else:
        names = (topics.samples_of(pipeline), topics.late_of(pipeline), topics.dead_of(pipeline))
        found += [_read(name, ("learner", "page")) for name in names]
        found.append(KafkaRight("topic", own, True, ("Write", "Create", "DescribeConfigs"), ("doctor",)))
    # The doctor deletes the topic by which it reads the broker's clock.
    found.append(KafkaRight("topic", own, True, ("Delete",), ("doctor", "forget")))
    found.append(KafkaRight("group", own, True, ("Read",), ("join", "learner")))
    if pipeline.samples.of is None and pipeline.samples.delivery == "exactly_once":
        found.append(KafkaRight("transactional-id", own, True, ("Write", "Describe"), ("join",)))
    return found


def store_policy(pipeline: Pipeline) -> dict[str, Any] | None:
    """The policy of S3 for all roles, a statement for each group of them; None where the store is no S3."""
    place = _bucket(pipeline.store.url)
    if place is None:
        return None
    bucket, prefix = place
    statements = list(_versions(bucket, prefix))
    checkpoints = _bucket(pipeline.flink.checkpoints or "")
    if checkpoints is not None:
        statements += _checkpoints(*checkpoints)
    return {"Version": "2012-10-17", "Statement": statements}


def _versions(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    below = f"{prefix}/" if prefix else ""
    objects = f"arn:aws:s3:::{bucket}/{below}"
    listed: dict[str, Any] = {
        "Sid": "ListVersions",
        "Action": ["s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}"],
    }
    if prefix:
        listed["Condition"] = {"StringLike": {"s3:prefix": [prefix, f"{below}*"]}}
    yield _allowed(listed)
    yield _allowed({"Sid": "ReadVersions", "Action": ["s3:GetObject"], "Resource": [f"{objects}*"]})
    # The learner commits; compactor, collection and `forget` write and delete; replicas keep leases.
    yield _allowed({"Sid": "WriteVersions", "Action": ["s3:PutObject", "s3:DeleteObject"], "Resource": [f"{objects}*"]})


def replica_policy(pipeline: Pipeline) -> dict[str, Any] | None:
    """The policy for a replica that has credentials of its own: it reads, and keeps its lease; None without S3."""
    place = _bucket(pipeline.store.url)
    if place is None:
        return None
    bucket, prefix = place
    below = f"{prefix}/" if prefix else ""
    *reading, writing = _versions(bucket, prefix)
    lease = writing | {"Sid": "KeepLease", "Resource": [f"arn:aws:s3:::{bucket}/{below}gc/leases/*"]}
    return {"Version": "2012-10-17", "Statement": [*reading, lease]}


def _checkpoints(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    objects = f"arn:aws:s3:::{bucket}/{prefix}/*" if prefix else f"arn:aws:s3:::{bucket}/*"
    whole = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    yield _allowed({"Sid": "ListCheckpoints", "Action": whole, "Resource": [f"arn:aws:s3:::{bucket}"]})
    actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    yield _allowed({"Sid": "Checkpoints", "Action": actions, "Resource": [objects]})


def _allowed(statement: dict[str, Any]) -> dict[str, Any]:
    return {"Effect": "Allow", **statement}


def _read(topic: str, roles: tuple[Role, ...]) -> KafkaRight:
    return KafkaRight("topic", topic, False, ("Read",), roles)


def _bucket(url: str) -> tuple[str, str] | None:
    """Bucket and prefix of an s3:// URL."""
    scheme, _, rest = url.partition("://")
    if not scheme.startswith("s3") or not rest:
        return None
    bucket, _, prefix = rest.partition("/")
    return bucket, prefix.strip("/")
