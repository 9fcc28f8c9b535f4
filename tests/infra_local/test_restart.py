"""Holds that a part killed and started again serves on the same address, with its data."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

from infra.local.flink_cluster import FlinkCluster
from infra.local.s3_server import S3Server
from infra.object_store import ObjectStore, open_store
from infra.spec import Secret, Store


def store_of(server: S3Server, prefix: str) -> ObjectStore:
    return open_store(
        Store(
            url=f"s3://{server.bucket}/{prefix}",
            endpoint=server.endpoint,
            region=server.region,
            access_key=Secret(value=server.access_key),
            secret_key=Secret(value=server.secret_key),
        )
    )


def test_objects_survive_a_killed_store(local_store: S3Server, unique: Callable[[str], str]) -> None:
    store = store_of(local_store, unique("restart"))
    store.put("before", b"kept")
    local_store.kill()
    assert not local_store.running
    local_store.start()
    assert store.get("before") == b"kept"
    store.put("after", b"written")
    assert store.get("after") == b"written"


def test_a_killed_task_manager_comes_back(local_flink: FlinkCluster) -> None:
    before = local_flink.registered()
    local_flink.kill_task_manager()
    local_flink.start_task_manager()
    assert local_flink.registered() - before == {local_flink.task_managers[0].name}
