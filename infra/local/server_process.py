"""A server of the local stack that is one process: launch, wait, stop, kill; must not know which server it is."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from infra.local.process import Process


class ServerProcess(ABC):
    """What the single-process servers of the stack have in common.

    Args:
        command: The program and its arguments.
        home: The server's own folder, and its working folder.
        logs: Folder for `<name>.log`.
        grace_seconds: How long it may take to leave after SIGTERM before it is killed.
        keep_open: File descriptors to hand to the process.
    """

    name: ClassVar[str]

    def __init__(
        self, command: Sequence[str], home: Path, logs: Path, *, grace_seconds: float, keep_open: Sequence[int]
    ) -> None:
        self.process = Process(
            self.name,
            command,
            logs / f"{self.name}.log",
            folder=home,
            grace_seconds=grace_seconds,
            cure="read the log above; a second start takes other ports and fresh data",
            keep_open=keep_open,
        )

    @property
    def running(self) -> bool:
        return self.process.alive

    @abstractmethod
    def launch(self) -> None:
        """Prepares the folder the first time, starts the server and returns before it answers."""

    @abstractmethod
    def await_ready(self) -> None:
        """Returns when the server does real work.

        Raises:
            Unavailable: It ended, or did not answer within three minutes.
        """

    def start(self) -> None:
        """`launch` and `await_ready`."""
        self.launch()
        self.await_ready()

    def stop(self) -> None:
        """Shuts the server down in order."""
        self.process.terminate()

    def kill(self) -> None:
        """Kills the server with SIGKILL."""
        self.process.kill()
