"""One process on a leash: start, wait until it answers, stop, kill, last lines; must not know what it runs."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from infra.clock import Clock, SystemClock
from infra.errors import Bug, Unavailable

LEASH = Path(__file__).with_name("leash.py")
POLL_SECONDS = 0.05
# How long a server of the local stack may take to start: seconds alone, minutes where others work beside it.
READY_SECONDS = 180.0
LAST_LINES = 10
TAIL_BYTES = 32 * 1024

Probe = Callable[[], bool]


def leashed(command: Sequence[str], *, grace_seconds: float = 0.0, niceness: int = 0) -> list[str]:
    """``command`` as it ends with this process at the latest, for who starts it; the others as of :class:`Process`."""
    told = [str(os.getpid()), str(grace_seconds), str(niceness)]
    return [sys.executable, "-I", "-S", str(LEASH), *told, *command]


class Process:
    """A command with its log file, that ends with this process at the latest, with all that it has started.

    Args:
        name: What people call it; it begins the messages.
        command: The program and its arguments.
        log: Where standard output and standard error are appended.
        environment: The whole environment; None passes on this process's own.
        folder: The working folder; None keeps this process's own.
        grace_seconds: How long the command may take to leave after SIGTERM before it is killed.
        cure: What to do when it does not start, as an imperative sentence.
        keep_open: File descriptors that stay open as long as the command or anything of it lives (a held lock).
        niceness: How far it stands back behind other processes, 0 to 19.
        clock: Where waiting gets its time from.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        grace_seconds: float = 10.0,
        cure: str = "",
        keep_open: Sequence[int] = (),
        niceness: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.environment = environment
        self.folder = folder
        self.grace_seconds = grace_seconds
        self.cure = cure
        self.keep_open = tuple(keep_open)
        self.niceness = niceness
        self._clock = clock or SystemClock()
        self._leash: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> None:
        """Starts the command and returns at once; the same object can be started again after its end."""
        if self.alive:
            raise Bug(f"{self.name} is already running")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._leash = subprocess.Popen(
                leashed(self.command, grace_seconds=self.grace_seconds, niceness=self.niceness),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment) if self.environment is not None else None,
                cwd=self.folder,
                pass_fds=self.keep_open,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self._leash is not None and self._leash.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The command's exit status, negative for a signal; None while it runs or before it was started."""
        return None if self._leash is None else self._leash.poll()

    @property
    def leash_pid(self) -> int:
        """The pid of the leash, the parent of the command."""
        if self._leash is None:
            raise Bug(f"{self.name} was never started")
        return self._leash.pid

    @property
    def pid(self) -> int:
        """The command's own pid, for signals that should meet it without warning.

        Raises:
            Unavailable: The command does not run.
        """
        children = Path(f"/proc/{self.leash_pid}/task/{self.leash_pid}/children")
        while self.alive:
            found = children.read_text(encoding="ascii").split()
            if found:  # empty for the first milliseconds, until the leash has forked
                return int(found[0])
            self._clock.sleep(POLL_SECONDS / 10)
        raise Unavailable(f"{self.name} does not run", where=str(self.log))

    def wait_until_ready(self, probe: Probe, deadline_seconds: float) -> None:
        """Asks ``probe`` until it says yes; ``Unavailable`` raised by it means not yet.

        Raises:
            Unavailable: The command ended or did not become ready in time (it is killed then); the message holds its
                last log lines and the cure.
        """
        deadline = self._clock.monotonic() + deadline_seconds
        reason = ""
        while True:
            # Asked before the probe: somebody else's server may answer on the same address.
            if not self.alive:
                raise self.failure(f"ended with exit status {self.exit_code} before it was ready")
            try:
                if probe():
                    return
            except Unavailable as error:
                reason = f": {error.what}"
            if self._clock.monotonic() >= deadline:
                failure = self.failure(f"was not ready within {deadline_seconds:g} s{reason}")
                self.kill()
                raise failure
            self._clock.sleep(POLL_SECONDS)

    def failure(self, what: str) -> Unavailable:
        """An error about this process that shows its last log lines."""
        lines = "".join(f"\n    {line}" for line in self.last_lines())
        said = f", having said{lines}\n" if lines else ""
        return Unavailable(f"{self.name} {what}{said}", cure=self.cure, where=str(self.log))

    def last_lines(self, count: int = LAST_LINES) -> list[str]:
        """The last non-empty lines that the command has written since its last start."""
        try:
            with self.log.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, end - TAIL_BYTES))
                text = log.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return []
        return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Waits for the end of the command and of all that it started; its exit status.

        Raises:
            Unavailable: It still runs after ``timeout_seconds``.
        """
        if self._leash is None:
            raise Bug(f"{self.name} was never started")
        try:
            return self._leash.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise self.failure(f"still runs after {timeout_seconds:g} s") from None

    def signal_stop(self) -> None:
        """Asks the command to leave and returns at once: SIGTERM now, SIGKILL after the grace time."""
        if self.alive:
            self._send(signal.SIGTERM)

    def terminate(self) -> int | None:
        """Asks the command to leave, kills it after the grace time, and waits; its exit status if it ever ran."""
        self.signal_stop()
        return self._leash.wait() if self._leash is not None else None

    def signal_kill(self) -> None:
        """Kills the command and all that it has started with SIGKILL, and returns at once."""
        if self.alive:
            self._send(signal.SIGUSR1)

    def kill(self) -> int | None:
        """Kills the command and all that it has started with SIGKILL, and waits; its exit status if it ever ran."""
        self.signal_kill()
        return self._leash.wait() if self._leash is not None else None

    def _send(self, number: int) -> None:
        # Before the leash handles signals they end it, and then there is no command yet either.
        assert self._leash is not None
        self._leash.send_signal(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
