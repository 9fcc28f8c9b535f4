"""Holds that a stack leaves nothing behind, however it ends, and takes up kept data where it is told to."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from infra.errors import Invalid, Unavailable
from infra.kafka import KafkaAdmin, TopicSettings
from infra.local.jars import ROOT
from infra.local.ports import require_free
from infra.local.s3_server import SOCKETS, S3Server
from infra.local.stack import LocalStack
from infra.spec import Kafka
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


def test_a_part_that_does_not_start_stops_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = family()
    stack = LocalStack(tmp_path, ("s3", "kafka"))

    def refuse(_: S3Server) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(S3Server, "await_ready", refuse)
    with pytest.raises(Unavailable, match="the disk is full"):
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


def test_an_unknown_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no such part: zookeeper"):
        LocalStack(tmp_path, ("zookeeper",))  # type: ignore[arg-type]
