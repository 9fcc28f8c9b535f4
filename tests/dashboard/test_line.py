"""One connection for many small questions: it is kept where the other side keeps it, and opened anew where not."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dashboard.line import Line
from infra.metrics import Metrics
from infra.status_server import StatusServer
from tests.dashboard.loop import CLOCK

BODY = b'{"version":1}'
FRAMED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
CLOSING = FRAMED.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
OLD = FRAMED.replace(b"HTTP/1.1", b"HTTP/1.0")
UNFRAMED = b"HTTP/1.1 200 OK\r\n\r\n" + BODY


@contextmanager
def answering(answer: bytes, *, keeps: bool) -> Iterator[tuple[str, list[int]]]:
    """A server that gives one answer to whatever it is asked; lists how many questions each connection brought."""
    questions: list[int] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            questions.append(0)
            with line:
                while line.recv(65_536):
                    questions[-1] += 1
                    line.sendall(answer)
                    if not keeps:
                        break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", questions
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize("answer", [FRAMED, CHUNKED], ids=["framed", "chunked"])
def test_a_connection_is_kept_while_the_other_side_keeps_it(answer: bytes) -> None:
    with answering(answer, keeps=True) as (url, questions):
        line = Line(url, CLOCK, timeout_s=5)
        assert [line.get("/status") for _ in range(5)] == [BODY] * 5
        line.close()
    assert questions == [5]


@pytest.mark.parametrize("answer", [CLOSING, OLD, UNFRAMED], ids=["closing", "old", "unframed"])
def test_an_answer_that_ends_its_connection_is_believed(answer: bytes) -> None:
    with answering(answer, keeps=False) as (url, questions):
        line = Line(url, CLOCK, timeout_s=5)
        assert [line.get("/status") for _ in range(3)] == [BODY] * 3
    assert questions == [1, 1, 1]


def test_a_connection_that_ended_meanwhile_is_opened_anew() -> None:
    with answering(FRAMED, keeps=False) as (url, questions):
        line = Line(url, CLOCK, timeout_s=5)
        assert [line.get("/status") for _ in range(3)] == [BODY] * 3
        line.close()
    assert questions == [1, 1, 1]


def test_the_processes_own_server_keeps_it() -> None:
    metrics = Metrics("replica")
    with StatusServer("127.0.0.1", 0, metrics=metrics, status=lambda: {"version": 1}, ready=lambda: None) as server:
        line = Line(server.url, CLOCK, timeout_s=5)
        assert line.get("/status") == BODY
        kept = line._socket
        assert line.get("/status") == BODY
        assert kept is not None
        assert line._socket is kept
        line.close()
