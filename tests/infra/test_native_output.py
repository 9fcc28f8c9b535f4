"""What a native library writes to standard error is dropped, our own events are not, and all is as before after it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os
from infra.logs import configure, logger
from infra.native_output import silenced
configure("test", form="json")
log = logger()
try:
    with silenced():
        os.write(2, b"native noise\\n")
        log.info("within")
        raise KeyError
except KeyError:
    log.info("after")
os.write(2, b"native again\\n")
print(len(os.listdir("/proc/self/fd")))
with silenced():
    pass
print(len(os.listdir("/proc/self/fd")))
"""


def test_events_go_on_and_noise_does_not() -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True, timeout=60)
    lines = ran.stderr.splitlines()
    assert ['"within"' in lines[0], '"after"' in lines[1], lines[2:]] == [True, True, ["native again"]]
    before, after = ran.stdout.split()
    assert before == after
