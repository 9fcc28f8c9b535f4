"""Holds that a process on its leash starts, answers, stops and dies as told, with all that it has started."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from infra.clock import SystemClock
from infra.errors import Bug, Unavailable
from infra.local.process import Process

CLOCK = SystemClock()
# A shell script that does not exec, with a child in its group and one in a session of its own; then it waits.
FAMILY = "setsid sleep 300 & sleep 301 & echo up; wait"
DEAF = "trap '' TERM; echo up; while :; do sleep 0.1; done"
POLITE = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"
# The owner prints the pids of what it has started and waits to be killed.
OWNER = """
import signal, sys
from pathlib import Path
from infra.local.process import Process
p = Process("family", ["bash", "-c", sys.argv[2]], Path(sys.argv[1]), grace_seconds=0.5)
p.start()
p.wait_until_ready(lambda: p.last_lines() == ["up"], 20)
import psutil
print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
signal.pause()
"""


def shell(script: str, log: Path, **settings: float) -> Process:
    process = Process("script", ["bash", "-c", script], log, **settings)  # type: ignore[arg-type]
    process.start()
    return process


def said(process: Process, line: str) -> Callable[[], bool]:
    return lambda: line in process.last_lines()


def await_gone(pids: list[int], seconds: float) -> list[int]:
    """Those that still live after ``seconds``; a zombie that only waits to be collected is gone."""
    deadline = CLOCK.monotonic() + seconds
    while (left := [pid for pid in pids if lives(pid)]) and CLOCK.monotonic() < deadline:
        CLOCK.sleep(0.05)
    return left


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_it_ends_the_way_its_command_did(tmp_path: Path) -> None:
    assert shell("exit 7", tmp_path / "log").wait(20) == 7
    killed = shell("kill -9 $$", tmp_path / "log")
    assert killed.wait(20) == -signal.SIGKILL
    assert shell("kill -SEGV $$", tmp_path / "log").wait(20) == -signal.SIGSEGV


def test_it_stands_back_as_a_session_of_its_own(tmp_path: Path) -> None:
    shares = Path("/proc/self/autogroup")
    script = f"nice; sed 's/.* nice //' {shares}" if shares.exists() else "nice; echo 7"
    process = shell(script, tmp_path / "log", niceness=7)
    assert process.wait(20) == 0 and process.last_lines() == [str(min(19, os.nice(0) + 7)), "7"]


def test_terminate_gives_time_to_leave(tmp_path: Path) -> None:
    process = shell(POLITE, tmp_path / "log")
    process.wait_until_ready(said(process, "up"), 20)
    assert process.terminate() == 3
    assert process.last_lines() == ["up", "bye"]
    assert not process.alive


def test_terminate_kills_what_does_not_leave(tmp_path: Path) -> None:
    process = shell(DEAF, tmp_path / "log", grace_seconds=0.3)
    process.wait_until_ready(said(process, "up"), 20)
    assert process.terminate() == -signal.SIGKILL


def test_pid_is_the_commands_own(tmp_path: Path) -> None:
    process = shell("echo $$; exec sleep 300", tmp_path / "log")
    process.wait_until_ready(lambda: bool(process.last_lines()), 20)
    assert process.pid == int(process.last_lines()[0])
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    with pytest.raises(Unavailable, match="does not run"):
        _ = process.pid


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_an_end_right_after_the_start_leaves_nothing(tmp_path: Path, end: str) -> None:
    before = psutil.Process().children(recursive=True)
    for _ in range(20):
        process = shell("exec sleep 300", tmp_path / "log")
        getattr(process, end)()
        assert not process.alive
        assert psutil.Process().children(recursive=True) == before


@pytest.mark.parametrize("end", ["kill", "terminate", "exit"])
def test_nothing_of_a_family_is_left(tmp_path: Path, end: str) -> None:
    process = shell(FAMILY, tmp_path / "log", grace_seconds=0.3)
    process.wait_until_ready(said(process, "up"), 20)
    family = [child.pid for child in psutil.Process(process.leash_pid).children(recursive=True)]
    assert len(family) == 3
    if end == "exit":
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
    else:
        getattr(process, end)()
    assert await_gone(family, 0) == []


@pytest.mark.parametrize("script", [FAMILY, DEAF], ids=["family", "deaf"])
def test_nothing_outlives_an_owner_killed_with_9(tmp_path: Path, script: str) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path / "log"), script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert len(pids) >= 2
        owner.kill()
    assert await_gone(pids, 15) == []


def test_a_killed_leash_takes_its_command_along(tmp_path: Path) -> None:
    process = shell("exec sleep 300", tmp_path / "log")
    command = process.pid
    os.kill(process.leash_pid, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    assert await_gone([command], 15) == []


def test_a_command_that_ends_early_shows_its_last_ten_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier run\n")
    process = Process("kafka", ["bash", "-c", "seq 1 30; echo bad port >&2; exit 4"], log, cure="choose another port")
    process.start()
    with pytest.raises(Unavailable) as caught:
        process.wait_until_ready(lambda: False, 20)
    assert "kafka ended with exit status 4" in caught.value.what
    assert "bad port" in caught.value.what
    assert "\n    22\n" in caught.value.what
    assert "\n    21\n" not in caught.value.what
    assert "earlier run" not in caught.value.what
    assert caught.value.cure == "choose another port"
    assert caught.value.where == str(log)


def test_a_command_that_never_answers_is_killed_and_says_why(tmp_path: Path) -> None:
    process = shell("exec sleep 300", tmp_path / "log")

    def refuse() -> bool:
        raise Unavailable("connection refused")

    with pytest.raises(Unavailable, match=r"not ready within 0\.3 s: connection refused"):
        process.wait_until_ready(refuse, 0.3)
    assert not process.alive


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    process = Process("store", ["/nonexistent/weed"], tmp_path / "log")
    process.start()
    with pytest.raises(Unavailable, match="cannot run /nonexistent/weed: No such file"):
        process.wait_until_ready(lambda: False, 20)


def test_a_second_start_of_a_running_process_is_refused(tmp_path: Path) -> None:
    with shell("exec sleep 300", tmp_path / "log") as process, pytest.raises(Bug, match="already running"):
        process.start()
    process.start()
    assert process.alive
    process.kill()


def test_descriptors_are_kept_as_long_as_anything_lives(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    process = Process("holder", ["bash", "-c", FAMILY], tmp_path / "log", keep_open=[writing])
    process.start()
    os.close(writing)
    os.set_blocking(reading, False)
    with pytest.raises(BlockingIOError):  # the other end is open
        os.read(reading, 1)
    process.kill()
    assert os.read(reading, 1) == b""
    os.close(reading)
