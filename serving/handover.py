"""Messages with open files between the processes of a replica, over Unix sockets; knows no message's meaning."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Sequence
from typing import Final

from infra.errors import Corrupt, Unavailable

WHERE: Final = "between the processes of a replica"
# Bytes of the message.
HEAD: Final = struct.Struct("<Q")
# Far beyond a program that TensorFlow runs, with all its weights.
MOST_BYTES: Final = 1 << 33
# What the kernel takes at once is 253.
MOST_FILES: Final = 250


def send(connection: socket.socket, message: bytes, files: Sequence[int] = ()) -> None:
    """Sends ``message`` with ``files``, which stay open here.

    Raises:
        OSError: The other side has gone, or does not take it within the connection's timeout.
    """
    if len(files) > MOST_FILES:
        raise OSError(f"{len(files)} files in one message; at most {MOST_FILES}")
    socket.send_fds(connection, [HEAD.pack(len(message))], files)
    connection.sendall(message)


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """The next message, and files that are the caller's to close.

    Raises:
        EOFError: The other side has gone.
        OSError: It stopped in the middle of a message.
        Corrupt: It announced a message of a size that none has.
        Unavailable: This process may not open so many files.
    """
    head, files, flags, _ = socket.recv_fds(connection, HEAD.size, MOST_FILES, socket.MSG_CMSG_CLOEXEC)
    try:
        if not head:
            raise EOFError
        head += _exactly(connection, HEAD.size - len(head))
        (size,) = HEAD.unpack(head)
        if size > MOST_BYTES:
            raise Corrupt(f"a message of {size} bytes", wanted=f"at most {MOST_BYTES}", where=WHERE)
        if flags & socket.MSG_CTRUNC:
            told = f"only {len(files)} of the files that came with a message could be opened"
            raise Unavailable(told, cure="raise the limit of open files", where=WHERE)
        return _exactly(connection, size), files
    except BaseException:
        close(files)
        raise


def close(files: Sequence[int]) -> None:
    """Closes files that arrived."""
    for file in files:
        os.close(file)


def readable(connection: socket.socket, within_s: float) -> bool:
    """Whether something arrives within that time, be it the end."""
    return bool(select.select([connection], [], [], within_s)[0])


def _exactly(connection: socket.socket, size: int) -> bytes:
    content = bytearray(size)
    view = memoryview(content)
    while view:
        got = connection.recv_into(view)
        if got == 0:
            raise EOFError
        view = view[got:]
    return bytes(content)
