"""One name that stands for many replicas: each of them is asked, one that comes is found, one that goes is let go."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import crowd
from dashboard.crowd import Crowd
from infra.addresses import addresses_of, with_address
from infra.metrics import Metrics
from infra.spec_dashboard import Targets
from infra.status_server import StatusServer
from tests.dashboard.loop import CLOCK, pipeline_for, served

NAME = "replicas.test"
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


class Names:
    """A name service that knows one name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    def __call__(self, host: str, port: int) -> Iterable[tuple[Any, ...]]:
        if host != NAME or not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        for address in self.addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            yield family, socket.SOCK_STREAM, 6, "", (address, port)


@pytest.fixture
def port() -> Iterator[int]:
    """Where a replica listens at each of three addresses."""

    def status(number: int) -> dict[str, Any]:
        return {"name": f"replica-{number}", "version": 1, "applied": []}

    with ExitStack() as servers:
        found = 0
        for number, host in enumerate(HOSTS):
            server = StatusServer(
                host, found, metrics=Metrics("replica"), status=partial(status, number), ready=lambda: None
            )
            found = servers.enter_context(server).port
        yield found


def named(found: Crowd) -> list[str]:
    return [answer.name for answer in found.heard({lane: lane.ask() for lane in found.lanes()}) if answer.up]


def test_everybody_behind_a_name_is_asked_and_who_leaves_it_no_longer(port: int) -> None:
    names = Names(*HOSTS[:2])
    found = Crowd(Targets(replicas=(f"http://{NAME}:{port}",)), CLOCK, names)
    assert found.due and not found.targets
    assert found.take(found.look()) == []
    assert named(found) == ["replica-0", "replica-1"] and not found.due
    kept = found.targets[1]
    names.addresses = HOSTS[1:]
    (gone,) = found.take(found.look())
    assert gone == f"http://127.0.0.1:{port}" and found.targets[0] is kept
    assert named(found) == ["replica-1", "replica-2"]
    names.addresses = ()
    assert found.take(found.look()) == [] and named(found) == ["replica-1", "replica-2"]
    found.close()


def test_a_name_that_nobody_knows_is_asked_as_it_is() -> None:
    found = Crowd(Targets(replicas=("http://nobody.invalid:1",)), CLOCK, Names())
    found.take(found.look())
    (target,) = found.targets
    answer = target.poll()
    assert not answer.up and answer.why and answer.name == "nobody.invalid:1"


def test_addresses_alone_ask_no_name_service() -> None:
    def never(host: str, port: int) -> Iterable[tuple[Any, ...]]:
        raise AssertionError(host)

    listed = Targets(replicas=("http://127.0.0.1:1", "http://[::1]:1", "http://[bad"), join="http://join:1")
    found = Crowd(listed, CLOCK, never)
    assert not found.due and len(found.targets) == 4


def test_the_page_shows_every_replica_behind_a_name(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, known = Names(*HOSTS[:2]), socket.getaddrinfo

    def resolved(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        return list(names(host, port)) if host == NAME else known(host, port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(crowd, "EVERY_S", 0.2)
    with served(pipeline_for(tmp_path, "many", replicas=[f"http://{NAME}:{port}"])) as page:
        state = page.until(lambda s: len(s["replicas"]) == 2 and all(r["up"] for r in s["replicas"]))
        assert [each["name"] for each in state["replicas"]] == ["replica-0", "replica-1"]
        names.addresses = HOSTS[1:2] + HOSTS[2:]
        state = page.until(lambda s: [r["name"] for r in s["replicas"] if r["up"]] == ["replica-1", "replica-2"])
        assert len(state["replicas"]) == 2
        events = page.get("/api/history").json()["events"]
        assert any(event["text"] == f"127.0.0.1:{port} is listed no longer" for event in events)


@given(st.lists(st.sampled_from(["10.0.0.9", "10.0.0.10", "fd00::1", "fd00::2"])))
def test_an_address_is_taken_once_and_of_one_family(addresses: list[str]) -> None:
    names = Names(*addresses)
    if not addresses:
        with pytest.raises(OSError, match="not known"):
            addresses_of(f"http://{NAME}:8500", names)
        return
    found = addresses_of(f"http://{NAME}:8500", names)
    families = [{a for a in addresses if (":" in a) == six} for six in (True, False)]
    if all(len(each) < 2 for each in families):
        assert found == (None,)
    else:
        assert set(found) in families and len(found) == 2
    assert all(with_address(f"http://{NAME}:8500", each).endswith(":8500") for each in found)
