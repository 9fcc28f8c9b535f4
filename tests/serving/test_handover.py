"""Between follower and predictor, over real sockets: what cannot be read costs a connection and no answer."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.clock import SystemClock
from infra.errors import Corrupt, Unavailable
from serving import handover
from serving.arrivals import Arrivals, prepare
from serving.control_page import ControlPage
from serving.message import FORM, MARK, START
from serving.publishing import Publishing
from serving.receiving import Receiving
from serving.snapshot import Switch
from serving.told import Keep, Ready, Refused, answer, encoded
from tests.serving.test_switch import ENCODER, make_graph, make_tables, make_version, publish

CLOCK = SystemClock()
WITHIN_S = 20.0


def until(condition: Callable[[], object]) -> None:
    deadline = CLOCK.monotonic() + WITHIN_S
    while not condition():
        assert CLOCK.monotonic() < deadline
        CLOCK.sleep(0.005)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        ours.settimeout(WITHIN_S)
        theirs.settimeout(WITHIN_S)
        yield ours, theirs


def test_messages_arrive_whole_with_their_files(pair: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    ours, theirs = pair
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        handover.send(ours, b"one", [file.fileno()])
        handover.send(ours, b"")
    content, files = handover.receive(theirs)
    assert (content, os.pread(files[0], 9, 0)) == (b"one", b"content")
    handover.close(files)
    assert handover.receive(theirs) == (b"", [])


def test_a_size_that_no_message_has_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].sendall(handover.HEAD.pack(handover.MOST_BYTES + 1))
    with pytest.raises(Corrupt, match="a message of 8589934593 bytes"):
        handover.receive(pair[1])


@pytest.mark.parametrize("sent", [3, handover.HEAD.size, handover.HEAD.size + 5])
def test_an_end_in_the_middle_is_an_end(pair: tuple[socket.socket, socket.socket], sent: int) -> None:
    pair[0].sendall((handover.HEAD.pack(9) + b"content!!")[:sent])
    pair[0].close()
    with pytest.raises(EOFError):
        handover.receive(pair[1])


def test_files_that_may_not_be_opened_are_told(pair: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (tmp_path / "file").open("rb") as file:
        handover.send(pair[0], b"one", [file.fileno()] * 3)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            with pytest.raises(Unavailable, match="raise the limit of open files"):
                handover.receive(pair[1])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Predictor:
    """A predictor in this process, and the follower's end of its socket."""

    versions: Receiving
    control: ControlPage
    listener: socket.socket

    def greeted(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(WITHIN_S)
        return connection


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "follower"))
        made.listen()
        made.settimeout(WITHIN_S)
        yield made


@pytest.fixture
def predictor(tmp_path: Path, listener: socket.socket) -> Iterator[Predictor]:
    control, stop = ControlPage(), threading.Event()
    versions = Receiving(Arrivals(ENCODER.features, make_tables()), control, str(tmp_path / "follower"), CLOCK)
    thread = threading.Thread(target=versions.run, args=(stop,))
    thread.start()
    yield Predictor(versions, control, listener)
    stop.set()
    thread.join()


def test_what_cannot_be_read_costs_a_connection_and_no_answer(
    predictor: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    switch, graph = Switch(make_tables()), make_graph()
    publish(switch, graph, 1)
    published = switch.read()
    good = encoded(prepare(1, published))

    with predictor.greeted() as connection:
        handover.send(connection, good, published.rows.files)
        assert answer(handover.receive(connection)[0]) == Ready(sequence=1)
        predictor.control.publish(1)
        handover.send(connection, encoded(Keep(sequences=(1,))))
        assert predictor.versions.read().version.number == 1
        handover.send(connection, good[:-1], published.rows.files)
        with pytest.raises(EOFError):
            handover.receive(connection)
    newer = START.pack(MARK, FORM + 1, START.unpack_from(good)[2]) + good[START.size :]
    for spoilt in (newer, newer, b"no message"):
        with predictor.greeted() as connection:
            handover.send(connection, spoilt, published.rows.files)
            with pytest.raises(EOFError):
                handover.receive(connection)
        assert predictor.versions.read().version.number == 1

    # What reads well is not yet true: that is answered, and the connection stands.
    with predictor.greeted() as connection:
        handover.send(connection, encoded(prepare(2, published)), published.rows.files[1:])
        refused = answer(handover.receive(connection)[0])
        assert isinstance(refused, Refused)
        assert "ValueError" in refused.reason
        handover.send(connection, encoded(prepare(2, published)), published.rows.files)
        assert answer(handover.receive(connection)[0]) == Ready(sequence=2)
        predictor.control.publish(2)
        assert predictor.versions.read().rows.files != []

    told = [record.getMessage() for record in caplog.records if "handover_not_understood" in record.getMessage()]
    assert len(told) == 3
    assert all(words in line for words, line in zip(("too early", "form 2", "begins with"), told, strict=True))


@pytest.mark.parametrize("wrong", [b"", b"no message", encoded(Keep(sequences=())), encoded(Ready(sequence=7))])
def test_a_predictor_whose_answer_is_wrong_is_left_behind(
    listener: socket.socket, tmp_path: Path, wrong: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    control, stop = ControlPage(), threading.Event()
    publishing = Publishing(listener, control, 1, CLOCK)
    greeter = threading.Thread(target=publishing.greet, args=(stop,))
    greeter.start()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "follower"))
            connection.settimeout(WITHIN_S)
            until(lambda: publishing.predictors == 1)
            switch = Switch(make_tables(), announce=publishing.announce)
            announcing = threading.Thread(
                target=switch.publish, args=(make_version(make_graph(), 1), []), kwargs={"replaces_all": True}
            )
            announcing.start()
            _, files = handover.receive(connection)
            handover.close(files)
            with contextlib.suppress(BrokenPipeError):  # the head alone may have been enough to be left behind
                handover.send(connection, wrong)
            announcing.join()
        assert (publishing.predictors, control.number) == (0, 1)
        assert len([line for line in caplog.messages if "predictor_left_behind" in line]) == 1
    finally:
        stop.set()
        greeter.join()
        publishing.close()
