"""The whole loop by SASL_SSL and TLS, with no right but those that `doctor --acls` lists; its secrets show nowhere."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
)

from checkpointing.history import newest_version
from infra.clock import new_secret
from infra.kafka import KafkaAdmin, TopicSettings
from infra.local.flink_cluster import FlinkCluster
from infra.local.flink_settings import s3_checkpoints
from infra.local.s3_server import S3Server
from infra.local.stack import LocalStack
from infra.object_store import open_store
from infra.spec import Kafka, Pipeline
from springtide.local_pipeline import Ports, local_pipeline
from springtide.loop import Loop
from springtide.reckoning import Reckoner
from springtide.rights import KafkaRight, kafka_rights
from streaming import topics
from tests.asking import HTTP
from tests.loop.conftest import DOCUMENT, RunningLoop
from tests.loop.secured_servers import USER, Authority, SecuredKafka, secured_kafka, secured_store, trusting
from tests.loop.table_of_messages import documented
from tests.springtide.test_rights import OPERATIONS, RESOURCES

pytestmark = [pytest.mark.long, pytest.mark.stack, pytest.mark.timeout(1200)]
NAME = "guarded"
TRAFFIC_SECONDS = 20.0
NOTICED_SECONDS = 60.0
REST_PAGES = ("/jobmanager/config", "/jobmanager/log", "/jobmanager/stdout", "/jobs/overview")
PAGES = ("/metrics", "/status", "/readyz", "/healthz")


@dataclass
class Servers:
    """As of a local stack."""

    kafka: SecuredKafka
    s3: S3Server
    flink: FlinkCluster


@dataclass
class Secured:
    """The loop, what it must keep to itself, and who may change its rights."""

    running: RunningLoop
    servers: Servers
    pipeline: Pipeline
    home: Path
    planted: dict[str, str]
    admin: AdminClient


def bindings(rights: list[KafkaRight]) -> list[AclBinding]:
    """Each once, though several roles may want it."""
    wanted = (
        AclBinding(
            RESOURCES[right.resource],
            right.name,
            ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
            f"User:{USER}",
            "*",
            OPERATIONS[operation],
            AclPermissionType.ALLOW,
        )
        for right in rights
        for operation in right.operations
    )
    return list(dict.fromkeys(wanted))


def granted(admin: AdminClient, rights: list[AclBinding]) -> None:
    for answer in admin.create_acls(rights).values():
        answer.result()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    home = tmp_path_factory.mktemp("secured")
    authority = Authority(home / "authority")
    with ExitStack() as stack:
        stack.enter_context(trusting(authority))
        kafka = stack.enter_context(secured_kafka(home / "kafka", authority))
        s3 = stack.enter_context(secured_store(home / "s3", authority))
        checkpoints = s3_checkpoints(s3.endpoint, s3.access_key, s3.secret_key, s3.bucket, s3.region)
        flink = FlinkCluster(home / "flink", home / "logs", settings=checkpoints)
        stack.callback(flink.kill)
        flink.start()
        servers = Servers(kafka, s3, flink)
        planted = {"password": kafka.password, "secret_key": s3.secret_key, "token": new_secret()}
        for name in ("password", "token"):
            (home / name).write_text(planted[name])
        pipeline = local_pipeline(
            DOCUMENT,
            name=NAME,
            stack=cast(LocalStack, servers),
            home=home / "loop",
            ports=Ports.free(),
            kafka={
                "security": "sasl_ssl",
                "sasl": {"username": {"value": USER}, "password": {"file": str(home / "password")}},
                "tls": {"ca": str(authority.ca)},
            },
            dashboard={"token": {"file": str(home / "token")}},
        )
        # The user's own topics are his; so is what is sent to them.
        outside = pipeline.model_copy(update={"kafka": Kafka(bootstrap=kafka.plain)})
        KafkaAdmin(outside.kafka).ensure_topics([TopicSettings(name) for name in topics.user_topics(pipeline)])
        admin = AdminClient({"bootstrap.servers": kafka.plain, "log_level": 0})
        granted(admin, bindings(kafka_rights(pipeline)))
        loop = Loop(pipeline, home / "loop", home / "logs")
        stack.callback(loop.stop)
        loop.start()
        store = open_store(pipeline.store)
        reckoner = Reckoner(outside, store)
        stack.callback(reckoner.close)
        running = RunningLoop(cast(LocalStack, servers), outside, loop, store, reckoner)
        yield Secured(running, servers, pipeline, home, planted, admin)


def test_events_become_versions_and_none_is_lost(secured: Secured) -> None:
    running = secured.running
    running.start_traffic()
    running.clock.wait(threading.Event(), TRAFFIC_SECONDS)
    running.stop_traffic()
    running.assert_nothing_lost()
    assert running.impressions > 100 and running.clicks > 30
    running.loop.require_alive()


def test_the_join_keeps_its_state_in_the_store(secured: Secured) -> None:
    """Flink's own client of the store speaks TLS, too."""
    bucket = open_store(secured.pipeline.store.model_copy(update={"url": f"s3://{secured.servers.s3.bucket}"}))
    secured.running.until(lambda: any("/chk-" in key for key in bucket.list("flink")), 60, "a checkpoint")


def test_the_doctor_finds_nothing_wrong(secured: Secured) -> None:
    command = [sys.executable, "-m", "springtide", "doctor", str(secured.running.loop.file)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0 and "FAIL" not in ran.stdout, ran.stdout + ran.stderr
    assert not any(secret in ran.stdout + ran.stderr for secret in secured.planted.values())


def said(secured: Secured) -> Iterator[tuple[str, bytes]]:
    """Everything that the loop has written or answers, by where it stands."""
    for log in (secured.home / "logs").glob("*.log"):
        yield str(log), log.read_bytes()
    addresses = dict(secured.running.loop.addresses)
    for name, address in addresses.items():
        for page in PAGES:
            yield f"{name}{page}", HTTP.get(f"{address}{page}", timeout=10).content
    base = addresses["page"]
    for page in ("/", "/api/history?minutes=10"):
        yield f"page{page}", HTTP.get(f"{base}{page}", timeout=10).content
    with httpx.stream("GET", f"{base}/api/live", trust_env=False, timeout=10) as live:
        yield "page/api/live", next(live.iter_bytes())
    rest = secured.servers.flink.rest
    jobs = [one["jid"] for one in HTTP.get(f"{rest}/jobs/overview").json()["jobs"]]
    for page in (*REST_PAGES, *(f"/jobs/{job}{part}" for job in jobs for part in ("", "/config", "/plan"))):
        yield f"flink{page}", HTTP.get(f"{rest}{page}", timeout=10).content
    bucket = open_store(secured.pipeline.store.model_copy(update={"url": f"s3://{secured.servers.s3.bucket}"}))
    for key in [*bucket.list(NAME), *bucket.list("flink")]:
        yield key, bucket.get(key)


def test_no_secret_shows_in_a_log_a_metric_a_page_or_a_manifest(secured: Secured) -> None:
    seen = 0
    for place, content in said(secured):
        seen += 1
        for name, secret in secured.planted.items():
            assert secret.encode() not in content, f"{name} shows in {place}"
    assert seen > 30


def test_a_right_that_is_taken_away_is_told_and_given_back_the_loop_goes_on(secured: Secured) -> None:
    running = secured.running
    own = topics.own_prefix(NAME)
    reading = AclBindingFilter(
        RESOURCES["topic"],
        own,
        ResourcePatternType.PREFIXED,
        f"User:{USER}",
        None,
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )
    log = secured.home / "logs" / "learner.log"
    before = len(log.read_text())
    (removed,) = secured.admin.delete_acls([reading]).values()
    taken = removed.result()
    assert taken
    running.start_traffic()
    try:
        running.until(lambda: "not allowed" in log.read_text()[before:], NOTICED_SECONDS, "the learner says it")
        line = next(line for line in log.read_text()[before:].splitlines() if "not allowed" in line)
        assert documented("revoked right on Kafka", line)
    finally:
        granted(secured.admin, list(taken))
        running.stop_traffic()
    # It says why it ends, and takes a moment to end.
    running.until(lambda: not running.loop.processes["learner"].alive, NOTICED_SECONDS, "the learner ends")
    known = newest_version(running.store) or 0

    def goes_on() -> bool:
        """Once what has ended was started again, as pods are."""
        for process in list(running.loop.dead()):
            running.loop.restart(process.name)
        return (newest_version(running.store) or 0) > known + 1

    running.until(goes_on, NOTICED_SECONDS, "new versions")
    running.assert_nothing_lost()


@pytest.mark.parametrize("command", ["join", "learn", "doctor"])
def test_a_wrong_password_ends_a_start_with_what_is_documented(secured: Secured, command: str, tmp_path: Path) -> None:
    wrong = "not-the-password-of-anybody"
    (tmp_path / "password").write_text(wrong)
    text = secured.running.loop.file.read_text().replace(str(secured.home / "password"), str(tmp_path / "password"))
    # The loop that runs has its ports.
    for port in (secured.pipeline.control.port, secured.pipeline.learner.port):
        text = text.replace(f"port: {port}\n", "port: 0\n")
    (tmp_path / "pipeline.yaml").write_text(text)
    words = [sys.executable, "-m", "springtide", command, str(tmp_path / "pipeline.yaml")]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    told = ran.stdout + ran.stderr
    assert ran.returncode == 2, told
    assert documented("wrong password of Kafka", told)
    assert wrong not in told
