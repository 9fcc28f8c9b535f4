"""Completes a data set's document into a pipeline for the servers on this machine; starts none of them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.clock import new_uuid
from infra.local.ports import free_ports
from infra.local.stack import LocalStack
from infra.spec import Pipeline

# A replay squeezes months into minutes, so its windows are seconds: the same share of the time that it covers.
JOIN = {
    "window": "500ms",
    "correction_window": "10s",
    "out_of_orderness": "300ms",
    "skew": "200ms",
    "idle_timeout": "8s",
    # Keys of an hour of squeezed time would not fit the heap of the local worker.
    "repeat_window": "5m",
}
REPLICAS = 2
# Nobody guesses it at one guess a second, and a person can still copy it by hand.
TOKEN_LETTERS = 12


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the platform's own processes listen."""

    join: int
    learner: int
    replicas: tuple[int, ...]
    page: int

    @classmethod
    def free(cls, replicas: int = REPLICAS, page: int | None = None) -> Ports:
        """Free ports; ``page`` keeps the one given."""
        join, learner, own_page, *serving = free_ports(3 + replicas)
        return cls(join, learner, tuple(serving), page or own_page)


def local_pipeline(
    document: dict[str, Any], *, name: str, stack: LocalStack, home: Path, ports: Ports, **parts: dict[str, Any]
) -> Pipeline:
    """The pipeline of ``document`` on the servers of ``stack``.

    Args:
        document: Events' fields, features, tables and model of a data set, perhaps parts of `join` and `learner`.
        name: Name of the model; topics and objects are named after it.
        stack: The running servers.
        home: Where secrets and the page's history are kept.
        ports: Where the platform's processes listen.
        parts: Further parts that go over the defaults key by key, such as ``learner={"max_batch": 256}``.

    Returns:
        The validated pipeline.
    """
    secrets = home / "secrets"
    secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    values = {
        "access_key": stack.s3.access_key,
        "secret_key": stack.s3.secret_key,
        "page_token": new_uuid()[:TOKEN_LETTERS],  # another one each time: the last one may have been shown to somebody
    }
    for secret, value in values.items():
        path = secrets / secret
        path.touch(mode=0o600)
        path.write_text(value, encoding="utf-8")
    bucket = f"s3://{stack.s3.bucket}"
    impressions = {"topic": f"{name}.impressions", "key": "impression_id", "time": "ts"}
    feedback = {"name": "click", "topic": f"{name}.clicks", "key": "impression_id", "time": "ts"}
    document = document | {
        "name": name,
        "kafka": {"bootstrap": stack.kafka.bootstrap},
        "events": {
            "impressions": impressions | document["events"]["impressions"],
            "feedback": document["events"].get("feedback", [feedback]),
        },
        "join": JOIN | document.get("join", {}),
        "control": {"port": ports.join},
        "flink": {"rest": stack.flink.rest, "checkpoints": f"{bucket}/flink/{name}", "checkpoint_interval": "10s"},
        "learner": document.get("learner", {}) | {"port": ports.learner},
        "store": {
            "url": f"{bucket}/{name}",
            "endpoint": stack.s3.endpoint,
            "region": stack.s3.region,
            "access_key": {"file": str((secrets / "access_key").absolute())},
            "secret_key": {"file": str((secrets / "secret_key").absolute())},
            "poll_interval": "50ms",
        },
        "serving": {"port": ports.replicas[0]},
        "dashboard": {
            "port": ports.page,
            "history": str((home / "history.sqlite").absolute()),
            "token": {"file": str((secrets / "page_token").absolute())},
            "targets": {
                "join": f"http://127.0.0.1:{ports.join}",
                "learner": f"http://127.0.0.1:{ports.learner}",
                "replicas": [f"http://127.0.0.1:{port}" for port in ports.replicas],
            },
        },
        "probe": {"enabled": True, "weight": 1.0},
    }
    for part, settings in parts.items():
        document[part] = document.get(part, {}) | settings
    return Pipeline.model_validate(document)
