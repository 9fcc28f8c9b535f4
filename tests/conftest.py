"""What every test may ask for: the real stack, started once and only when asked for, and names nobody else uses."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from infra.clock import new_uuid
from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from infra.local.s3_server import S3Server
from infra.local.stack import LocalStack

# Dear to start, so there is one of each in a process. What has Flink in it takes half of the time of all tests; what
# needs a broker, a store or a browser alone has its own and runs beside it.
FLINK_FIXTURES = {"local_flink", "local_stack", "planner"}
DOOR_FIXTURES = {"local_kafka", "local_store", "browser"}
STACK_FIXTURES = {"local_kafka", "local_store", "local_flink", "local_stack"}
# The place of a group among those that begin; all others come after.
BEGINS = {"flink": 0, "doors": 1}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the tests that use the stack, and keeps two processes off its servers.

    Where the tests run in several processes, one of them gets all that need Flink, another all that need other servers,
    and every other file stays whole, since its fixtures are dear. The longest group begins first, so that none is left
    to run alone at the end. A single process runs the quick ones first.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & STACK_FIXTURES:
            item.add_marker(pytest.mark.stack)
        if fixtures & FLINK_FIXTURES:
            group = "flink"
        elif fixtures & DOOR_FIXTURES:
            group = "doors"
        else:
            group = item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: BEGINS.get(_group(item), len(BEGINS)))
    else:
        items.sort(key=lambda item: item.get_closest_marker("stack") is not None)


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    assert marker is not None
    return str(marker.args[0])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuses to run where pytest and its xdist do not go together: each process would start servers of its own."""
    grouped = hasattr(session.config, "workerinput") and session.config.getvalue("loadgroup")
    if grouped and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("groups of tests have no effect; cure: install what requirements.lock says")


@pytest.fixture(scope="session")
def _stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The session's servers, none of them started."""
    stack = LocalStack(tmp_path_factory.mktemp("stack"))
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def local_kafka(_stack: LocalStack) -> KafkaServer:
    """A running broker; `.bootstrap`. Topics are not created by themselves."""
    if not _stack.kafka.running:
        _stack.kafka.start()
    return _stack.kafka


@pytest.fixture(scope="session")
def local_store(_stack: LocalStack) -> S3Server:
    """A running S3 server; `.endpoint`, `.access_key`, `.secret_key`, `.region`, and `.bucket`, which exists."""
    if not _stack.s3.running:
        _stack.s3.start()
    return _stack.s3


@pytest.fixture(scope="session")
def local_flink(_stack: LocalStack, local_store: S3Server) -> FlinkCluster:
    """A running cluster of one TaskManager with eight slots, whose checkpoints go to `local_store`; `.rest`."""
    if not _stack.flink.running:
        _stack.flink.start()
    return _stack.flink


@pytest.fixture(scope="session")
def local_stack(_stack: LocalStack) -> LocalStack:
    """All three, started side by side; a test that kills a part starts it again before it ends."""
    _stack.start()
    return _stack


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Names for topics, groups and prefixes on the shared servers: `unique("clicks")` -> `clicks-3f0a91c2`."""
    return lambda prefix: f"{prefix}-{new_uuid()[:8]}"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Debian's Chromium; where it must be (under CI) its absence fails the test, elsewhere it skips."""
    found = shutil.which("chromium")
    if found is not None:
        return found
    message = "chromium not found; cure: apt-get install chromium"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
