"""Follows the tutorial word by word on a fresh clone: within ten minutes a live page, and probes below 1.5 s."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.clock import SystemClock
from tests.asking import HTTP
from tests.docs.documents import ROOT, SHELL, TUTORIAL

TEN_MINUTES_S = 600.0
PROMISED_S = 1.5
PAGE = re.compile(r"Page +(http://127\.0\.0\.1:\d+)")
BLOCK = re.compile(r"^(<!-- stays -->\n)?```(\w+)\n(.*?)^```$", re.M | re.S)
CLOCK = SystemClock()


def blocks() -> list[tuple[bool, str]]:
    """Each shell block of the tutorial, and whether it stays in its terminal."""
    found = BLOCK.findall(TUTORIAL.read_text(encoding="utf-8"))
    return [(bool(stays), text) for stays, language, text in found if language in SHELL]


def environment() -> dict[str, str]:
    """A person's: nothing of the environment that the tests run in."""
    foreign = ("PYTHON", "VIRTUAL_ENV", "PYTEST", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PATH": ":".join(part for part in kept["PATH"].split(":") if not part.startswith(str(ROOT)))}


@contextmanager
def terminal(text: str, folder: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A shell that goes on with its commands until it is left, with all that it started."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            ["bash", "-c", text],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(60)


def await_page(process: subprocess.Popen[bytes], log: Path) -> str:
    """The page's address, once it is served."""
    while True:
        said = log.read_text(encoding="utf-8", errors="replace")
        if found := PAGE.search(said):
            return found.group(1)
        assert process.poll() is None, said[-3000:]
        CLOCK.sleep(0.2)


def run(text: str, folder: Path) -> str:
    """What a person's shell prints for a block."""
    done = subprocess.run(
        ["bash", "-euc", text], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.timeout(1500)
def test_the_tutorial_followed_word_by_word(tmp_path: Path) -> None:
    begin = CLOCK.monotonic()
    (first, *before), (stays, demo), *after = blocks()[0], blocks()[1], *blocks()[2:]
    del first
    assert stays and len(after) == 4
    run(before[0].replace("REPOSITORY", str(ROOT)), tmp_path)
    clone = tmp_path / "springtide"
    log = tmp_path / "demo.log"
    with terminal(demo, clone, log) as process:
        page = await_page(process, log)
        assert "<title>" in HTTP.get(page).text
        # One shell: what a block exports, the next one has.
        answers = run("\necho ====\n".join(text for _, text in after), tmp_path).split("====\n")
        until = CLOCK.monotonic() - begin
        assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-3000:]
    found, well, probes, made = answers
    assert "mine.yaml" in found
    assert "FAIL" not in well and re.search(r"^ok +kafka", well, re.M)
    median = re.search(r"p50[^0-9]*([0-9.]+)", probes)
    assert median is not None and float(median.group(1)) < PROMISED_S, probes
    assert "servable" in made.lower() or "yes" in made.lower()
    assert until < TEN_MINUTES_S, f"{until:.0f} s"
