"""Takes the ports that a replica answers on; knows nothing of what is said there."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from typing import Final

from infra.status_server import listen_error

BACKLOG: Final = 1024


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on ``host:port``.

    Raises:
        Invalid: The port is in use, or the address is not this machine's.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Not only bound: a second replica on the same port must fail here.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise listen_error(host, port, error) from None
    return listener


def reserve(host: str, port: int) -> socket.socket:
    """A socket that holds ``host:port``, or a free port where it is 0, for processes that each listen there.

    Raises:
        Invalid: The port is in use, or the address is not this machine's.
    """
    if port != 0:
        # What another replica's processes share could be shared here unnoticed.
        listen(host, port).close()
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, port))
    except OSError as error:
        holder.close()
        raise listen_error(host, port, error) from None
    return holder
