"""Holds that chosen ports are free and different, and that a taken one is named with its holder."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from infra.errors import Unavailable
from infra.local.kafka_server import KafkaServer
from infra.local.ports import FIRST, HOST, LAST, free_ports, is_free, require_free


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.socket() as server:
        server.bind((HOST, free_ports(1)[0]))
        server.listen()
        yield server.getsockname()[1]


def test_ports_are_free_and_different() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert all(FIRST <= port < LAST and is_free(port) for port in ports)


def test_a_port_in_use_is_named_with_its_holder(taken: int) -> None:
    assert not is_free(taken)
    me = psutil.Process()
    with pytest.raises(Unavailable, match=f"port {taken}, wanted by kafka, is in use by process {me.pid}") as caught:
        require_free(taken, "kafka")
    assert caught.value.cure


def test_a_port_is_free_again_as_soon_as_its_server_has_gone(taken: int) -> None:
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()) as client:
        port = server.getsockname()[1]
        accepted, _ = server.accept()
        accepted.close()  # closed by the server's side: this connection stays in TIME_WAIT
        client.recv(1)
    assert is_free(port)


def test_a_broker_whose_port_is_taken_does_not_start(tmp_path: Path, taken: int) -> None:
    broker = KafkaServer(tmp_path / "kafka", tmp_path / "logs", ports=[taken, free_ports(1)[0]])
    with pytest.raises(Unavailable, match=f"port {taken}, wanted by kafka, is in use"):
        broker.start()
    assert not broker.running
