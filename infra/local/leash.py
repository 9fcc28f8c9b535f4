"""Runs one command that never outlives its owner; a script started by path, which knows no other file."""

# SPDX-License-Identifier: Apache-2.0
# Usage: python -I -S leash.py OWNER_PID GRACE_SECONDS NICENESS COMMAND [ARGUMENT ...]
#
# The leash stays between owner and command as a small process of its own session. It ends the command and whatever the
# command has started when the owner is gone (killed with -9 too), when it gets SIGTERM (the command gets SIGTERM first,
# and SIGKILL after the grace time), and at once on SIGUSR1. When the command has ended, what it left behind is killed,
# and the leash ends the way the command did.
#
# Why not PR_SET_PDEATHSIG on the command alone: it follows the thread that spawned, not the process; it is lost on
# grandchildren; and SIGKILL leaves nobody to clean up. Here a lost owner shows as a changed parent id, and being the
# subreaper keeps every descendant, even one in a session of its own, below this process.
from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.25
AUTOGROUP_TRIES = 8
AWAITED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}


def prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def descendants(root: int) -> list[int]:
    """All living processes below ``root``, parents first."""
    children: dict[int, list[int]] = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [root]
    for process in found:
        found.extend(children.get(process, []))
    return found[1:]


def reap(command: int) -> int | None:
    """Collects ended children; the wait status of ``command`` when it is among them."""
    status = None
    while True:
        try:
            process, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if process == 0:
            return status
        if process == command:
            status = ended


def send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def kill_all() -> None:
    """Kills until nothing is left: a process may fork while the list is read."""
    while True:
        for process in descendants(os.getpid()):
            send(process, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def stand_back(niceness: int) -> None:
    """Lets other processes go first, by so much, this one's session as a whole included."""
    os.nice(niceness)
    # Where the system shares the processor among sessions, niceness counts within one alone; the session has its own.
    for _ in range(AUTOGROUP_TRIES):
        try:
            pathlib.Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")
        except BlockingIOError:  # all users but root share one such write in a tenth of a second
            time.sleep(POLL_SECONDS)
        except OSError:
            return
        else:
            return


def run(owner: int, grace_seconds: float, arguments: list[str]) -> int:
    """Runs the command to its end; its wait status."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    leash = os.getpid()
    command = os.fork()
    if command == 0:
        # Should the leash itself be killed with -9, the command goes with it.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != leash:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            os.execvp(arguments[0], arguments)
        except OSError as error:
            os.write(2, f"cannot run {arguments[0]}: {error.strerror}\n".encode())
            os._exit(127)
    deadline: float | None = None
    status = None
    while status is None:
        received = signal.sigtimedwait(AWAITED, POLL_SECONDS)
        number = received.si_signo if received is not None else 0
        asked = number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) or os.getppid() != owner
        if asked and deadline is None:
            deadline = time.monotonic() + grace_seconds
            send(command, signal.SIGTERM)
        if number == signal.SIGUSR1 or (deadline is not None and time.monotonic() >= deadline):
            send(command, signal.SIGKILL)
        status = reap(command)
    kill_all()
    return status


def main() -> None:
    owner, grace_seconds, niceness, arguments = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    if os.getppid() != owner:
        sys.exit(1)
    if niceness:
        stand_back(niceness)
    for descriptor in list(pathlib.Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself
            os.set_inheritable(int(descriptor.name), int(descriptor.name) <= 2)
    status = run(owner, grace_seconds, arguments)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
