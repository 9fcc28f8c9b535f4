"""What is answered on the connection itself: as the web framework would, byte for byte, however the bytes arrive."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from infra.clock import SystemClock
from infra.spec import Pipeline
from serving import answering, connection
from serving.inference import Inference
from serving.plain_heads import PlainHeads
from serving.shadow import Shadow
from tests.serving.conftest import Replica, Served
from tests.serving.model import Model, make_columns
from tests.serving.test_protocol_v2 import binary, full_columns

CLOCK = SystemClock()
INFER = "/v2/models/demo/infer"
PREDICT = "/v1/models/demo:predict"


def raw(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def predict(rows: int = 2) -> bytes:
    return raw(PREDICT, json.dumps({"inputs": make_columns(rows, seed=rows)}).encode())


def connect(client: httpx.Client) -> socket.socket:
    address = urlsplit(str(client.base_url))
    return socket.create_connection((address.hostname, address.port), timeout=20)


def answers(connection: socket.socket, count: int) -> list[bytes]:
    """The next answers, heads and bodies, without the time that they tell."""
    found: list[bytes] = []
    content = b""
    while len(found) < count:
        head, end, rest = content.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        if not end or length is None or len(rest) < int(length[1]):
            part = connection.recv(65536)
            assert part, content
            content += part
            continue
        size = int(length[1])
        found.append(re.sub(rb"\r\ndate: [^\r]+", b"", head) + end + rest[:size])
        content = rest[size:]
    assert content == b""
    return found


def good_and_bad() -> list[bytes]:
    content, headers = binary(full_columns(3), {"parameters": {"binary_data_output": True}})
    wide, wide_headers = binary(full_columns(3), wide=True)
    return [
        predict(),
        raw(INFER, content, headers),
        raw(INFER, wide, wide_headers),
        raw(INFER, wide, wide_headers),
        raw(INFER, wide[:-1], wide_headers),
        raw(INFER, b"{}"),
        raw("/v2/models/demo/versions/2/infer", wide, wide_headers),
        raw("/v2/models/demo/versions/7/infer", wide, wide_headers),
        raw(INFER, wide, {**wide_headers, "X-Springtide-At-Least-Version": "9"}),
        raw(INFER, wide, {**wide_headers, "X-Springtide-At-Least-Version": "x"}),
        raw("/v2/models/other/infer", wide, wide_headers),
        raw(PREDICT, b"{}", {"Content-Type": "text/xml"}),
        raw(PREDICT, b"{}", {"X-Springtide-Timeout-Ms": "1000"}),
        raw(PREDICT, b""),
        raw("/v1/models/demo%3Apredict", b"{}"),
        b"GET /v2/models/demo HTTP/1.1\r\nHost: x\r\n\r\n",
    ]


def test_both_answer_alike(directly: Served, by_framework: Served) -> None:
    for request in good_and_bad():
        with connect(directly.client) as one, connect(by_framework.client) as other:
            one.sendall(request)
            other.sendall(request)
            assert answers(one, 1) == answers(other, 1), request[:200]


def test_one_connection_for_all(served: Served) -> None:
    requests = good_and_bad()
    with connect(served.client) as asking:
        alone = []
        for request in requests:
            asking.sendall(request)
            alone += answers(asking, 1)
        asking.sendall(b"".join(requests))
        assert answers(asking, len(requests)) == alone


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_request_in_pieces(served: Served, size: int) -> None:
    request = predict(5)
    with connect(served.client) as asking:
        asking.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asking.sendall(request)
        whole = answers(asking, 1)
        for begin in range(0, len(request), size):
            asking.sendall(request[begin : begin + size])
        assert answers(asking, 1) == whole


def test_who_asks_for_a_close_gets_it(served: Served) -> None:
    with connect(served.client) as asking:
        asking.sendall(predict().replace(b"Host: x", b"Host: x\r\nConnection: close"))
        (answer,) = answers(asking, 1)
        assert b"connection: close" in answer
        assert asking.recv(1) == b""


@dataclass
class Held:
    """A replica whose predictions wait until they are let go."""

    replica: Replica
    waiting: threading.Semaphore
    released: threading.Event

    def begun(self) -> None:
        assert self.waiting.acquire(timeout=20)


@pytest.fixture
def held(replica: Replica, model: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    model.commit()
    replica.following.step()
    made = Held(replica, threading.Semaphore(0), threading.Event())
    answer: Any = replica.predictor.predict

    def waiting(*arguments: Any) -> Any:
        made.waiting.release()
        assert made.released.wait(20)
        return answer(*arguments)

    monkeypatch.setattr(replica.predictor, "predict", waiting)
    # What waits here must not be the event loop.
    monkeypatch.setattr(connection, "SHORT", -1)
    yield made
    made.released.set()


def test_what_comes_while_one_is_answered_waits(held: Held) -> None:
    replica = held.replica
    with connect(replica.client) as asking:
        asking.sendall(predict(2))
        held.begun()
        asking.sendall(predict(3) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert replica.client.get("/healthz").status_code == 200
        held.released.set()
        two, three, healthy = answers(asking, 3)
    assert [len(json.loads(one.partition(b"\r\n\r\n")[2])["outputs"]) for one in (two, three)] == [2, 3]
    assert b'{"alive":true}' in healthy


def test_too_many_at_once(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = held.replica
    monkeypatch.setattr(answering, "MOST_WAITING", 1 - answering.WORKERS)
    with connect(replica.client) as first, connect(replica.client) as second:
        first.sendall(predict())
        held.begun()
        second.sendall(predict())
        (refused,) = answers(second, 1)
        assert refused.startswith(b"HTTP/1.1 429")
        assert b"1 requests wait already" in refused
        held.released.set()
        assert answers(first, 1)[0].startswith(b"HTTP/1.1 200")
        second.sendall(predict())
        assert answers(second, 1)[0].startswith(b"HTTP/1.1 200")
    assert replica.metrics.value("springtide_replica_requests_total", protocol="v1", code="429") == 1
    assert replica.metrics.value("springtide_replica_requests_total", protocol="v1", code="200") == 2


def test_what_has_begun_is_ended_before_the_server_leaves(held: Held) -> None:
    replica = held.replica
    with connect(replica.client) as busy, connect(replica.client) as idle, connect(replica.client) as halfway:
        halfway.sendall(predict()[:-1])
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answers(idle, 1)
        busy.sendall(predict())
        held.begun()
        replica.stop.set()
        assert idle.recv(1) == b""  # it has stopped listening
        held.released.set()
        (answer,) = answers(busy, 1)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        assert busy.recv(1) == b""
        halfway.sendall(predict()[-1:])
        assert answers(halfway, 1)[0].startswith(b"HTTP/1.1 200")
    replica.thread.join(20)
    assert not replica.thread.is_alive()


def test_who_leaves_while_being_answered(held: Held) -> None:
    replica = held.replica
    with connect(replica.client) as asking:
        asking.sendall(predict())
        held.begun()
    held.released.set()
    assert replica.client.post(PREDICT, json={"inputs": make_columns(2)}).status_code == 200


def test_many_connections(directly: Served) -> None:
    request = predict(4)

    def ask(_: int) -> set[bytes]:
        with connect(directly.client) as asking:
            found = set()
            for _ in range(20):
                asking.sendall(request)
                found.update(answers(asking, 1))
            return found

    with ThreadPoolExecutor(8) as pool:
        assert len(set.union(*pool.map(ask, range(16)))) == 1


@pytest.fixture
def heads(directly: Served, pipeline: Pipeline) -> PlainHeads:
    predictor = directly.replica.predictor
    return PlainHeads(Inference(predictor, Shadow(predictor, directly.replica.metrics)), 1000)


def test_a_plain_head(heads: PlainHeads) -> None:
    head = raw("/v2/models/demo/versions/3/infer", b"", {"Inference-Header-Content-Length": "12"})
    for _ in range(2):
        found = heads.read(head)
        assert found is not None
        assert (found.asked.protocol, found.asked.version, found.asked.header_length) == ("v2", 3, "12")
        assert (found.path, found.length) == ("/v2/models/demo/versions/3/infer", 0)


@pytest.mark.parametrize(
    "head",
    [
        raw("/v2/models/demo", b""),
        raw(INFER + "?a=1", b""),
        raw(INFER, b"x" * 1001)[:-1001],
        raw(INFER, b"", {"Content-Encoding": "gzip"}),
        raw(INFER, b"", {"Expect": "100-continue"}),
        raw(INFER, b"", {"Connection": "Upgrade", "Upgrade": "h2c"}),
        raw(INFER, b"", {"X-Springtide-At-Least-Version": "soon"}),
        raw(INFER, b"", {"x-a": "1", "X-A": "2"}),
        raw(INFER, b"").replace(b"HTTP/1.1", b"HTTP/1.0"),
        raw(INFER, b"").replace(b"POST", b"PUT"),
        raw(INFER, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        raw(INFER, b"").replace(b"Content-Length: 0", b"Content-Length: +0"),
        raw(INFER, b"").replace(b"Content-Length: 0", b"A: 0"),
        raw(INFER, b"").replace(b"Host", b"Ho st"),
        raw(INFER, b"") + raw(INFER, b""),
    ],
)
def test_a_head_that_is_not_plain(heads: PlainHeads, head: bytes) -> None:
    assert heads.read(head) is None


def test_heads_are_forgotten(heads: PlainHeads) -> None:
    for number in range(600):
        assert heads.read(raw(INFER, b"", {"X-Request-Id": str(number)})) is not None
