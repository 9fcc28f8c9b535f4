"""Too much at once, and too slowly: told in time, and nobody else has to wait for it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import select
import socket
import threading
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from infra.clock import SystemClock
from infra.metrics import Metrics
from serving import answering
from serving.answering import MOST_WAITING, WORKERS, Answering
from serving.refusals import Refused
from tests.serving.conftest import Served


def test_more_requests_than_may_wait() -> None:
    clock = SystemClock()
    shared = Answering(max_body=100, metrics=Metrics("replica", clock=clock), clock=clock)
    release = threading.Event()

    async def crowd() -> None:
        waiting = [asyncio.create_task(shared.compute(release.wait)) for _ in range(WORKERS + MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="requests wait already") as raised:
            await shared.compute(release.wait)
        assert raised.value.status == 429
        release.set()
        assert all(await asyncio.gather(*waiting))
        assert await shared.compute(lambda: 7) == 7

    try:
        asyncio.run(crowd())
    finally:
        release.set()
        shared.close()


def test_who_waits_no_longer_is_told_and_what_had_no_turn_is_not_begun() -> None:
    clock = SystemClock()
    shared = Answering(max_body=100, metrics=Metrics("replica", clock=clock), clock=clock)
    release = threading.Event()
    begun: list[int] = []

    async def crowd() -> None:
        busy = [asyncio.create_task(shared.compute(release.wait)) for _ in range(WORKERS)]
        await asyncio.sleep(0)
        with pytest.raises(Refused, match=r"no answer within 0\.05 s") as raised:
            await shared.compute(lambda: begun.append(1), 0.05)
        assert raised.value.status == 504
        release.set()
        assert all(await asyncio.gather(*busy))
        assert await shared.compute(lambda: 7, 10) == 7

    try:
        asyncio.run(crowd())
    finally:
        release.set()
        shared.close()
    assert begun == []


def test_what_has_waited_too_long_for_its_turn_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "LONGEST_WAIT_S", 0.05)
    clock = SystemClock()
    shared = Answering(max_body=100, metrics=Metrics("replica", clock=clock), clock=clock)
    release = threading.Event()
    begun: list[int] = []

    async def crowd() -> None:
        busy = [asyncio.create_task(shared.compute(release.wait)) for _ in range(WORKERS)]
        await asyncio.sleep(0)
        late = asyncio.create_task(shared.compute(lambda: begun.append(1)))
        await asyncio.sleep(0.1)
        release.set()
        with pytest.raises(Refused, match="has waited") as raised:
            await late
        assert raised.value.status == 429
        assert all(await asyncio.gather(*busy))

    try:
        asyncio.run(crowd())
    finally:
        release.set()
        shared.close()
    assert begun == []


def test_bodies_that_are_here_are_counted(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "MOST_BODIES", 1)
    address = urlsplit(str(served.client.base_url))
    most = served.replica.pipeline.serving.max_body.bytes
    path = "/v1/models/demo:predict"
    half = b"{" + b" " * (most // 2)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {most}\r\n\r\n".encode()
    with ExitStack() as opened:

        def begin() -> socket.socket:
            made = socket.create_connection((address.hostname, address.port), timeout=10)
            opened.enter_context(made).sendall(head + half)
            return made

        begun = begin()
        refused = served.client.post(path, content=half)
        while refused.status_code != 429:  # until the half has been read
            assert refused.status_code == 400
            if select.select([begun], [], [], 0)[0]:  # it met the whole one, and was itself the one too many
                begun = begin()
            refused = served.client.post(path, content=half)
        assert "bodies of" in refused.json()["error"]
    # The one that left takes nothing away.
    while served.client.post(path, content=half).status_code == 429:
        pass


@pytest.mark.parametrize("wrong", ["0", "soon", "-1", "1e3", "99999999999"])
def test_a_deadline_that_is_none(served: Served, wrong: str) -> None:
    answer = served.client.post(
        "/v1/models/demo:predict", json={"instances": []}, headers={"X-Springtide-Timeout-Ms": wrong}
    )
    assert answer.status_code == 400
    assert "X-Springtide-Timeout-Ms" in answer.json()["error"]


def test_a_body_that_does_not_come(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "BODY_WITHIN_S", 0.05)
    address = urlsplit(str(served.client.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/models/demo:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"the body did not arrive" in answer


def test_a_client_that_leaves_in_the_middle(served: Served) -> None:
    address = urlsplit(str(served.client.base_url))
    for _ in range(5):
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(b"POST /v1/models/demo:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
    assert served.client.get("/healthz").status_code == 200
