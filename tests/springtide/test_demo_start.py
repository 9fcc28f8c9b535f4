"""The demo before its servers run: an empty log, a signal during the start, a stranger at Flink's address."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.clock import SystemClock
from infra.errors import Invalid
from infra.local.jars import ROOT
from infra.pipeline_file import load_pipeline
from springtide import doctor
from tests.infra_local.stranger import strangers

SECONDS = 60
CLOCK = SystemClock()
PIPELINE = """\
name: own
kafka: {{bootstrap: "127.0.0.1:9092"}}
flink: {{rest: "http://127.0.0.1:{port}"}}
events:
  impressions: {{topic: shown, key: id, time: at, fields: [{{name: item, type: string}}]}}
  feedback: [{{name: click, topic: clicked, key: id, time: at}}]
features: [{{kind: id, name: item, source: item, table: item}}]
tables: [{{name: item, dim: 8}}]
store: {{url: "memory://own"}}
"""
IMPRESSION = '{"id": "a", "at": "2020-01-01T00:00:00Z", "item": "x"}\n'


def start_demo(home: Path, impressions: str, *words: str) -> subprocess.Popen[str]:
    """The demo of a log of one's own, in a folder of its own."""
    files = {"pipeline.yaml": PIPELINE.format(port=8081), "impressions": impressions, "feedback": ""}
    for name, text in files.items():
        (home / name).write_text(text, encoding="utf-8")
    named: Sequence[str] = ("--data", "pipeline.yaml", "--impressions", "impressions", "--feedback", "feedback")
    return subprocess.Popen(
        [sys.executable, "-m", "springtide", "demo", *named, *words],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def has_open(pid: int, path: Path) -> bool:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            if link.readlink() == path:
                return True
    return False


def test_an_empty_log_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with start_demo(tmp_path, "", "--once") as demo:
        _, error = demo.communicate(timeout=SECONDS)
    assert demo.returncode == Invalid.exit_code
    assert "is empty" in error
    assert "Traceback" not in error
    assert not (tmp_path / ".springtide" / "stack").exists()


@pytest.mark.parametrize(
    ("number", "words", "code"), [(signal.SIGTERM, ["--once"], 1), (signal.SIGINT, [], 0)], ids=["once", "live"]
)
def test_a_signal_during_the_start_stops_at_once(tmp_path: Path, number: int, words: list[str], code: int) -> None:
    lock = tmp_path / ".springtide" / "stack" / "lock"
    lock.parent.mkdir(parents=True)
    # The leftovers of a killed stack hold the lock: the demo waits for them, before any server is started.
    with lock.open("w", encoding="ascii") as held:
        held.write("999999999")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        with start_demo(tmp_path, IMPRESSION, *words) as demo:
            deadline = CLOCK.monotonic() + SECONDS
            while not has_open(demo.pid, lock):
                assert demo.poll() is None and CLOCK.monotonic() < deadline
                CLOCK.wait(threading.Event(), 0.02)
            demo.send_signal(number)
            asked = CLOCK.monotonic()
            said, error = demo.communicate(timeout=SECONDS)
    assert CLOCK.monotonic() - asked < 10  # the lock alone would be waited for twice as long
    assert (demo.returncode, said.strip(), error) == (code, "Stopped.", "")


@pytest.mark.parametrize("body", [b"[]", b"{}", b"<html>", b'{"taskmanagers": null}'])
def test_doctor_does_not_take_a_stranger_for_flink(tmp_path: Path, body: bytes) -> None:
    with strangers() as answering:
        path = tmp_path / "pipeline.yaml"
        path.write_text(PIPELINE.format(port=answering(body)), encoding="utf-8")
        with pytest.raises(Invalid, match="is no Flink cluster") as caught:
            list(doctor._flink(load_pipeline(path)))
    assert "correct `flink.rest`" in caught.value.cure
