"""The four pages of a process over real HTTP: what they answer, when they break, when the port is taken."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from typing import Any

import httpx
import pytest

from infra.clock import SystemClock
from infra.errors import Invalid
from infra.metrics import Metrics
from infra.status_server import StatusServer, require_port
from tests.asking import HTTP


class Room:
    """What a process would tell of itself."""

    reason: str | None = "no version yet"
    facts: Mapping[str, Any] | None = None

    def status(self) -> Mapping[str, Any]:
        if self.facts is None:
            raise RuntimeError("hunter2")
        return self.facts

    def ready(self) -> str | None:
        return self.reason


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("learner")


@pytest.fixture
def server(room: Room, metrics: Metrics) -> Iterator[StatusServer]:
    with StatusServer("127.0.0.1", 0, metrics=metrics, status=room.status, ready=room.ready) as started:
        yield started


def test_metrics_are_served(server: StatusServer, metrics: Metrics) -> None:
    metrics.inc("springtide_learner_duplicates_total", 5)
    answer = HTTP.get(f"{server.url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "\nspringtide_learner_duplicates_total 5.0\n" in answer.text
    assert "process_resident_memory_bytes" in answer.text
    assert "_created" not in answer.text


def test_readiness_tells_the_reason_and_follows_it(server: StatusServer, room: Room) -> None:
    answer = HTTP.get(f"{server.url}/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reason": "no version yet"})
    room.reason = None
    answer = HTTP.get(f"{server.url}/readyz/")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reason": None})
    assert HTTP.get(f"{server.url}/healthz").json() == {"alive": True}


def test_status_is_json_as_given_and_never_cached(server: StatusServer, room: Room) -> None:
    room.facts = {"role": "learner", "version": 1 << 40, "heartbeats": {"clicks": 1.5}}
    answer = HTTP.get(f"{server.url}/status")
    assert answer.json() == room.facts
    assert answer.headers["cache-control"] == "no-store"


def test_a_page_that_breaks_is_a_500_without_details_and_the_others_live(server: StatusServer, room: Room) -> None:
    answer = HTTP.get(f"{server.url}/status")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    room.facts = {"bad": object()}
    assert HTTP.get(f"{server.url}/status").status_code == 500
    assert HTTP.get(f"{server.url}/healthz").status_code == 200


def test_other_pages_and_methods_are_refused(server: StatusServer) -> None:
    answer = HTTP.get(f"{server.url}/metricz")
    assert answer.status_code == 404
    assert answer.json()["pages"] == ["/metrics", "/healthz", "/readyz", "/status"]
    assert HTTP.post(f"{server.url}/status").status_code == 405


def test_a_silent_client_holds_nobody_up(server: StatusServer) -> None:
    silent = socket.create_connection(("127.0.0.1", server.port))
    with silent, httpx.Client(timeout=5) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.get(f"{server.url}/healthz").status_code, range(40)))
    assert answers == [200] * 40


def test_a_connection_is_kept_for_the_next_question_and_ends_with_the_server(server: StatusServer, room: Room) -> None:
    room.facts = {"rows": list(range(50_000))}
    kept = HTTPConnection("127.0.0.1", server.port, timeout=5)
    kept.connect()
    line = kept.sock
    for path in ("/status", "/healthz", "/metrics", "/nothing", "/status"):
        kept.request("GET", path)
        answer = kept.getresponse()
        assert answer.version == 11
        assert len(answer.read()) == int(answer.headers["content-length"])
        assert kept.sock is line
    server.close()
    with pytest.raises((ConnectionError, HTTPException)):
        kept.request("GET", "/healthz")
        kept.getresponse()


def test_what_belongs_to_a_refused_question_is_not_taken_for_the_next(server: StatusServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
        body = b"GET /healthz HTTP/1.1\r\n\r\n"
        line.sendall(b"POST /status HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        said = b"".join(iter(lambda: line.recv(65_536), b""))
    assert said.startswith(b"HTTP/1.1 405 ")
    assert said.count(b"HTTP/1.1") == 1


def test_a_client_of_the_old_protocol_gets_its_answer_and_the_end(server: StatusServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
        line.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        said = b"".join(iter(lambda: line.recv(65_536), b""))
    assert said.endswith(b'{"alive":true}')


def test_a_port_in_use_is_invalid_with_its_cure(server: StatusServer, room: Room, metrics: Metrics) -> None:
    with pytest.raises(Invalid, match=f"port {server.port} is in use. Cure: stop the process that has it, or set"):
        StatusServer("127.0.0.1", server.port, metrics=metrics, status=room.status, ready=room.ready)
    with pytest.raises(Invalid, match=f"port {server.port} is in use"):
        require_port("127.0.0.1", server.port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_somewhere_else_is_invalid(host: str, room: Room, metrics: Metrics) -> None:
    with pytest.raises(Invalid, match=f"{host}:0  cannot listen: .*Cure: correct `host`"):
        StatusServer(host, 0, metrics=metrics, status=room.status, ready=room.ready)
    with pytest.raises(Invalid, match="cannot listen"):
        require_port(host, 0)


def test_it_stops_soon_frees_its_port_and_may_be_closed_twice(room: Room, metrics: Metrics) -> None:
    clock = SystemClock()
    first = StatusServer("127.0.0.1", 0, metrics=metrics, status=room.status, ready=room.ready)
    assert HTTP.get(f"{first.url}/healthz").status_code == 200
    began = clock.monotonic()
    first.close()
    first.close()
    assert clock.monotonic() - began < 1
    require_port("127.0.0.1", first.port)
    with StatusServer("127.0.0.1", first.port, metrics=metrics, status=room.status, ready=room.ready) as second:
        assert HTTP.get(f"{second.url}/healthz").status_code == 200


def test_it_listens_on_all_addresses_and_on_ipv6(room: Room, metrics: Metrics) -> None:
    for host in ("0.0.0.0", "::1"):
        with StatusServer(host, 0, metrics=metrics, status=room.status, ready=room.ready) as server:
            assert HTTP.get(f"{server.url}/healthz").status_code == 200
