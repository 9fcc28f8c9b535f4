"""Holds that a stack leaves nothing behind, however it ends, and takes up kept data where it is told to."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from infra.errors import Invalid, Unavailable
from infra.kafka import KafkaAdmin, TopicSettings
from infra.local import kafka_server
from infra.local.flink_cluster import FlinkCluster
from infra.local.jars import ROOT
from infra.local.ports import free_ports, require_free
from infra.local.s3_server import SOCKETS, S3Server
from infra.local.stack import LocalStack
from infra.spec import Kafka
from tests.infra_local.stranger import Stranger, strangers
from tests.infra_local.test_process import await_gone
from tests.infra_local.test_restart import read_all, send, store_of

# Another process starts a stack, keeps its data, prints its family and waits to be killed.
OWNER = """
import signal, sys
from pathlib import Path
import psutil
from infra.local.stack import LocalStack
stack = LocalStack(Path(sys.argv[1]), ("kafka", "s3"), keep_data=True)
stack.start()
print(stack.kafka.bootstrap, stack.s3.endpoint, flush=True)
print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
signal.pause()
"""


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    with strangers() as answering:
        yield answering


def family() -> list[int]:
    return [child.pid for child in psutil.Process().children(recursive=True)]


@pytest.mark.stack
def test_an_owner_killed_with_9_leaves_no_process_and_its_data_can_be_taken_up(tmp_path: Path) -> None:
    before = family()
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        bootstrap, endpoint = owner.stdout.readline().split()
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert len(pids) >= 4  # Kafka and S3, each on its leash
        with pytest.raises(Unavailable, match=f"another stack runs in this folder, owned by process {owner.pid}"):
            LocalStack(tmp_path)
        kafka = Kafka(bootstrap=bootstrap)
        KafkaAdmin(kafka).ensure_topics([TopicSettings("kept")])
        send(kafka, "kept", b"message")
        owner.kill()

    # The leftovers are given their time to leave: nobody has to wait or to clean up.
    stack = LocalStack(tmp_path, ("kafka", "s3"), keep_data=True)
    assert await_gone(pids, 15) == []
    told: list[tuple[str, str]] = []
    stack.start(lambda part, state, _: told.append((part, state)))
    try:
        assert (stack.kafka.bootstrap, stack.s3.endpoint) == (bootstrap, endpoint)
        assert told == [("s3", "starting"), ("kafka", "starting"), ("s3", "up"), ("kafka", "up")]
        assert read_all(kafka, "kept", 1) == [b"message"]
        assert not stack.flink.running
        store = store_of(stack.s3, "kept")
        store.put("object", b"content")
    finally:
        stack.stop()
    assert family() == before
    assert [path for port in stack.s3.ports for path in SOCKETS.glob(f"*-{port}.sock")] == []
    require_free(stack.kafka.port, "the next")
    require_free(stack.s3.port, "the next")


@pytest.mark.parametrize("error", [Unavailable("the disk is full"), KeyboardInterrupt("Ctrl-C")])
def test_a_part_that_does_not_start_stops_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before = family()
    stack = LocalStack(tmp_path, ("s3", "kafka"))

    def refuse(_: S3Server) -> None:
        raise error

    monkeypatch.setattr(S3Server, "await_ready", refuse)
    with pytest.raises(type(error), match=str(error)):
        stack.start()
    assert family() == before
    LocalStack(tmp_path).stop()  # the folder is free again


def test_a_part_that_dies_shows_its_own_words(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, ("s3",))
    stack.s3.process.command.append("-dir=/proc/none")
    with pytest.raises(Unavailable) as caught:
        stack.start()
    assert "s3 ended with exit status" in caught.value.what
    assert "/proc/none" in caught.value.what
    assert caught.value.where.endswith("logs/s3.log")


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    stack = LocalStack(home)
    try:
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
    finally:
        stack.stop()


def test_no_proxy_stands_before_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet, 127.0.0.1")
    monkeypatch.setenv("no_proxy", "internal")
    LocalStack(tmp_path).stop()
    for name in ("NO_PROXY", "no_proxy"):
        assert os.environ[name] == "intranet,127.0.0.1,internal,localhost"


def test_a_format_that_takes_too_long_is_told_with_a_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_server, "FORMAT_SECONDS", 0.01)
    with pytest.raises(Unavailable, match=r"not formatted within 0\.01 s") as caught:
        kafka_server.KafkaServer(tmp_path / "kafka", tmp_path / "logs").launch()
    assert caught.value.cure


def test_a_stranger_at_flinks_address_is_not_taken_for_a_cluster(tmp_path: Path, stranger: Stranger) -> None:
    port = stranger(b'{"taskmanagers": 3}')
    cluster = FlinkCluster(tmp_path / "flink", tmp_path / "logs", ports=[port, *free_ports(2)])
    with pytest.raises(Unavailable, match="no JobManager of flink's answers there"):
        cluster.registered()


def test_an_unknown_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no such part: zookeeper"):
        LocalStack(tmp_path, ("zookeeper",))  # type: ignore[arg-type]


def test_a_cluster_id_that_begins_with_a_dash_is_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_server, "new_uuid", lambda: "f8" * 16)  # base64: -Pj4-Pj4...
    broker = kafka_server.KafkaServer(tmp_path / "kafka", tmp_path / "logs")
    broker.launch()
    broker.kill()
    written = next((tmp_path / "kafka").rglob("meta.properties")).read_text(encoding="utf-8")
    assert "cluster.id=-Pj4" in written
