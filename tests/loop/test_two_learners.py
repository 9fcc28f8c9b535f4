"""Two learners on one model: one stops as Fenced, and the model is as if there had been one."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import pytest

from infra.errors import Fenced
from infra.local.process import Process
from tests.loop.conftest import RunningLoop


# The learner's own tests fence one in a sixth of the time; this is that with everything around it.
@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_second_learner_fences_the_first(running: RunningLoop) -> None:
    first = running.loop.processes["learner"]
    running.start_traffic()
    # The page and the probes follow the learner's port, so the second one listens on a port of its own.
    other = running.loop.file.with_name("second.yaml")
    settings = running.loop.file.read_text(encoding="utf-8")
    port = str(running.pipeline.learner.port)
    other.write_text(settings.replace(f"port: {port}", "port: 0"), encoding="utf-8")
    command = [sys.executable, "-m", "springtide", "learn", str(other), "--identity", "second", "--takeover"]
    second = Process("second learner", command, running.loop.logs / "second.log")
    second.start()
    try:
        assert first.wait(90) == Fenced.exit_code
        assert "one learner per model" in "\n".join(first.last_lines())
        assert second.alive
    finally:
        second.terminate()
    # The second one's silence need not be waited for: it has left.
    running.loop.restart("learner", "--takeover")
    running.stop_traffic()
    running.assert_nothing_lost()
