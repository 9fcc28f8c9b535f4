"""Free ports on the loopback address; must not know who will listen on them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import psutil  # type: ignore[import-untyped]

from infra.clock import new_uuid
from infra.errors import SpringtideError, Unavailable
from infra.status_server import require_port

HOST = "127.0.0.1"
# Below the range from which the kernel takes ports for outgoing connections (32768 and up on Linux): a port that is
# kept over a restart must not be taken by somebody's connection in between.
FIRST, LAST = 20_000, 32_000


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen on ``port`` now."""
    try:
        require_port(host, port)
    except SpringtideError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """``count`` different free ports, begun at random so that two stacks started together rarely meet.

    Raises:
        Unavailable: The whole range is taken.
    """
    span = LAST - FIRST
    start = int(new_uuid(), 16) % span
    found: list[int] = []
    for step in range(span):
        port = FIRST + (start + step) % span
        if is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise Unavailable(f"fewer than {count} free ports between {FIRST} and {LAST}", cure="stop servers of old runs")


def require_free(port: int, owner: str, host: str = HOST) -> None:
    """Checks that ``owner`` could listen on ``port``.

    Raises:
        Unavailable: Somebody else listens there; the message names the process where that can be seen.
    """
    if is_free(port, host):
        return
    raise Unavailable(
        f"port {port}, wanted by {owner}, is in use{_holder(port)}",
        cure="stop that process or choose another port",
        where=f"{host}:{port}",
    )


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
        pids = {c.pid for c in connections if c.laddr and c.laddr.port == port and c.status == psutil.CONN_LISTEN}
        return "".join(f" by process {pid} ({psutil.Process(pid).name()})" for pid in sorted(filter(None, pids)))
    except psutil.Error:  # somebody else's process: its name is not ours to see
        return ""
