"""The stores over which the protocol must hold."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from checkpointing.follower import Follower
from checkpointing.writer import Writer
from infra.local.s3_server import S3Server
from infra.object_store import ObjectStore, open_store
from infra.spec import Secret, Store
from tests.checkpointing.stepping_clock import SteppingClock
from tests.elsewhere import URL, elsewhere


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def memory(unique: Callable[[str], str]) -> ObjectStore:
    return open_store(Store(url=f"memory://{unique('versions')}"))


@pytest.fixture
def writer(memory: ObjectStore, clock: SteppingClock) -> Writer:
    """The one writer of `model` in memory."""
    return Writer.take_over(memory, "model", "learner-0", clock)


@pytest.fixture
def follower(memory: ObjectStore, clock: SteppingClock) -> Follower:
    """Follows it from the start."""
    return Follower(memory, "model", clock)


STORES = ["memory", "disk", pytest.param("s3", marks=pytest.mark.stack), *(["elsewhere"] if URL else [])]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, unique: Callable[[str], str]) -> ObjectStore:
    """An empty store of each sort."""
    if request.param == "memory":
        return open_store(Store(url=f"memory://{unique('versions')}"))
    if request.param == "disk":
        return open_store(Store(url=tmp_path.as_uri()))
    if request.param == "elsewhere":
        return open_store(elsewhere(unique("versions")))
    server: S3Server = request.getfixturevalue("local_store")
    return open_store(
        Store(
            url=f"s3://{server.bucket}/{unique('versions')}",
            endpoint=server.endpoint,
            region=server.region,
            access_key=Secret(value=server.access_key),
            secret_key=Secret(value=server.secret_key),
        )
    )
