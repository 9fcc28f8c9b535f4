"""A snapshot is read by another process in the same memory, which nobody can change any more."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import json
import os
import resource
import socket
import struct
import traceback
import zlib
from pathlib import Path

import numpy as np
import pytest

from kernels.tables import ColumnSettings, EmbeddingTables, Snapshot, TableSettings
from tests.kernels.test_snapshot import asking, rows_of


@pytest.fixture
def layout() -> EmbeddingTables:
    return EmbeddingTables([TableSettings("t", 1)], [ColumnSettings("c", "t")], 0, 300_000, trainable=False)


def test_another_process_reads_the_same_memory(layout: EmbeddingTables) -> None:
    """Through base, overlay and compaction; each piece is mapped once, and nobody can write to it."""
    keys = np.arange(300_000)
    snapshots = [layout.snapshot([rows_of(keys, keys.astype(np.float32)[:, None])])]
    snapshots.append(snapshots[-1].extended([rows_of(keys[:9], np.full((9, 1), -1, np.float32), keys[20:30])]))
    snapshots.append(snapshots[-1].extended([rows_of(keys[5:15], np.full((10, 1), -2, np.float32))]))
    snapshots.append(snapshots[-1].compacted())
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            os._exit(_read_in_another_process(ours))
        except BaseException:  # noqa: BLE001 - the parent sees the exit code, and must not go on twice
            traceback.print_exc()
        finally:
            os._exit(255)
    with ours, theirs:
        for snapshot in snapshots:
            reader = layout.reader()
            wanted = reader.lookup(asking(keys), snapshot)[:, 0].tobytes()
            message = json.dumps([snapshot.layout, zlib.crc32(wanted), reader.absent]).encode()
            socket.send_fds(theirs, [struct.pack("<I", len(message)) + message], snapshot.files)
        theirs.shutdown(socket.SHUT_WR)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == len(snapshots)


def _read_in_another_process(connection: socket.socket) -> int:
    layout = EmbeddingTables([TableSettings("t", 1)], [ColumnSettings("c", "t")], 0, 300_000, trainable=False)
    known: list[Snapshot] = []
    while True:
        head, files, _, _ = socket.recv_fds(connection, 4, 200)
        if not head:
            return len(known)
        told, crc, absent = json.loads(connection.recv(struct.unpack("<I", head)[0], socket.MSG_WAITALL))
        for file in files:
            with pytest.raises(PermissionError):
                os.pwrite(file, b"x", 0)
        mapped = _mappings()
        known.append(layout.opened(told, files, known))
        assert _mappings() - mapped == (1 if len(files) == 1 else 2)
        for file in files:
            os.close(file)
        reader = layout.reader()
        got = reader.lookup(asking(np.arange(300_000)), known[-1])[:, 0].tobytes()
        assert (zlib.crc32(got), reader.absent) == (crc, absent)


def _mappings() -> int:
    return Path("/proc/self/maps").read_text(encoding="ascii").count("springtide-rows")


def test_what_another_process_tells_is_checked(layout: EmbeddingTables) -> None:
    keys = np.arange(100)
    snapshot = layout.snapshot([rows_of(keys, keys.astype(np.float32)[:, None])])
    snapshot = snapshot.extended([rows_of(keys[:9], np.zeros((9, 1), np.float32))])
    told, files = snapshot.layout, snapshot.files
    assert layout.opened(told, files).row_counts() == {"t": 100}
    for place in range(1, len(told)):
        with pytest.raises(ValueError, match="the layout"):
            layout.opened([*told[:place], 1 << 40, *told[place + 1 :]], files)
    for wrong in ([], told[:-1], [*told, 0]):
        with pytest.raises(ValueError, match="the layout"):
            layout.opened(wrong, files)
    for some in ([], files[:2]):
        with pytest.raises(ValueError, match="wanted a base"):
            layout.opened(told, some)
    unsealed = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    with pytest.raises(ValueError, match="not sealed"):
        layout.opened(told, [unsealed, *files[1:]])
    os.close(unsealed)


def test_what_the_system_refuses_is_told_by_its_number_and_leaves_the_snapshot(layout: EmbeddingTables) -> None:
    keys = np.arange(9)
    before = layout.snapshot([rows_of(keys, np.ones((9, 1), np.float32))])
    change = [rows_of(keys[:3], np.full((3, 1), 2, np.float32))]
    # Not the limit of open files, without which a sanitizer cannot look at the error either.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        with pytest.raises(OSError, match="no room in the file for the rows") as raised:
            before.extended(change)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.errno == errno.EFBIG
    assert (layout.reader().lookup(asking(keys), before)[:, 0] == 1).all()
    after = before.extended(change)
    assert (layout.reader().lookup(asking(keys), after)[:, 0] == [2] * 3 + [1] * 6).all()
