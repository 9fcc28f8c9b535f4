"""A broken stream is stopped before a replica serves it, on a running learner and replica with the real Kafka."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from checkpointing.manifest import Manifest
from infra import spec
from infra.clock import iso
from infra.local.ports import free_ports
from infra.object_store import ObjectStore, open_store
from tests.asking import HTTP
from tests.learner.messages import PIPELINE, START_MS, message
from tests.learner.stream import Running, committed_offsets, learner, line, make_topic, send, until

Unique = Callable[[str], str]

WINDOW_MS = 3_000
HEALTHY = 1_500
BURST = 64
REFUSALS = 3
# As many bad samples as nobody can tell from chance may be in a version when it is captured.
TOO_FEW_TO_TELL = 24


def make_pipeline(name: str, bootstrap: str, folder: Path, faster: float = 1.0) -> spec.Pipeline:
    """Labels at the window's end; ``faster`` multiplies every learning rate."""
    rows = {"kind": "adagrad", "learning_rate": 0.03 * faster}
    document = PIPELINE | {
        "name": name,
        "kafka": {"bootstrap": bootstrap},
        "store": {"url": (folder / "store").as_uri()},
        "join": {"labels": "aligned", "window": f"{WINDOW_MS}ms"},
        "tables": [table | {"optimizer": rows} for table in PIPELINE["tables"]],
        "model": PIPELINE["model"] | {"optimizer": {"learning_rate": 0.005 * faster}},
        "gate": {"revert_after": REFUSALS},
    }
    return spec.Pipeline.model_validate(document)


@contextmanager
def replica(pipeline: spec.Pipeline, folder: Path) -> Iterator[str]:
    """A running replica's address; a process of its own, since TensorFlow takes its threads once in a process."""
    file, (port,) = folder / "pipeline.json", free_ports(1)
    file.write_text(pipeline.model_dump_json())
    with (folder / "replica.log").open("wb") as log:
        command = [sys.executable, "-m", "tests.serving.replica_process", str(file), "replica", str(port), "0"]
        process = subprocess.Popen(command, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


@dataclass
class Stream:
    """What was sent, and how the line takes it."""

    pipeline: spec.Pipeline
    store: ObjectStore
    sent: int = 0

    def send(self, count: int, **changes: Any) -> None:
        numbers = range(self.sent, self.sent + count)
        # Every label is known when the window ends.
        known = [iso(START_MS + number * 10 + WINDOW_MS) for number in numbers]
        bodies = [message(number, **({"known_ts": at} | changes)) for number, at in zip(numbers, known, strict=True)]
        send(self.pipeline, [(0, body) for body in bodies])
        self.sent += count

    def line(self) -> list[Manifest]:
        return line(self.store, self.pipeline)

    def learned(self) -> bool:
        return committed_offsets(self.store, self.pipeline) == {0: self.sent}

    def breaks(self, reason: str, running: Running, **changes: Any) -> None:
        """Sends broken samples until the learner has gone back, and holds the gate to its word."""
        begin, reverts = self.sent, self.reverts()
        while self.refused(begin) < REFUSALS:
            self.send(BURST, **changes)
            until(lambda: self.learned() or self.reverts() > reverts)
        until(lambda: self.reverts() > reverts)
        since = [m for m in self.line() if m.changes and m.positions and m.positions[0].next_offset > begin]
        revert = next(m for m in since if m.kind == "revert")
        refused = [m for m in since if m.version < revert.version and not m.gate.servable]
        passed = [m for m in since if m.version < revert.version and m.gate.servable]
        assert len(refused) == REFUSALS and all(any(reason in why for why in m.gate.reasons) for m in refused)
        assert all(m.positions[0].next_offset <= begin + TOO_FEW_TO_TELL for m in passed), passed
        ((partition, first, last),) = revert.quarantined
        assert partition == 0 and first <= begin + TOO_FEW_TO_TELL and last == revert.positions[0].next_offset
        assert revert.gate.servable
        told = running.get("/metrics").text
        assert f'springtide_learner_refused_total{{reason="{reason.replace(" ", "_")}"}}' in told

    def heals(self) -> None:
        """Sends healthy samples until a version passes: the rest of a burst may have come after the return."""
        until(self.learned)
        healed = False
        while not healed:
            self.send(BURST)
            until(self.learned)
            healed = next(m for m in reversed(self.line()) if m.changes).gate.servable

    def refused(self, begin: int) -> int:
        """Versions that hold something from ``begin`` on and were refused."""
        since = [m for m in self.line() if m.kind == "delta" and m.positions and m.positions[0].next_offset > begin]
        return sum(not m.gate.servable for m in since)

    def reverts(self) -> int:
        return [m.kind for m in self.line()].count("revert")


def applied(address: str) -> set[int]:
    """Versions that the replica has answered from; none while it starts."""
    try:
        return {each["version"] for each in HTTP.get(f"{address}/status", timeout=5).json()["applied"]}
    except httpx.TransportError:
        return set()


def test_broken_streams_are_stopped_before_a_replica_serves_them(
    local_kafka: Any, unique: Unique, tmp_path: Path
) -> None:
    name = unique("gate")
    pipeline = make_pipeline(name, local_kafka.bootstrap, tmp_path)
    make_topic(pipeline)
    store = open_store(pipeline.store)
    stream = Stream(pipeline, store)
    with replica(pipeline, tmp_path) as address:
        with learner(pipeline, store) as running:
            for _ in range(3):
                stream.send(HEALTHY // 3)
                until(stream.learned)
            assert all(m.gate.servable for m in stream.line() if m.changes)
            stream.breaks("label rate", running, label_click=1)
            stream.heals()
            stream.breaks("coverage", running, item=None)
            stream.heals()
            stream.breaks("label rate", running, label_click=0, kind="timeout")  # the join lost the clicks
        # What was normal is remembered across a restart.
        fast = make_pipeline(name, local_kafka.bootstrap, tmp_path, faster=1000.0)
        with learner(fast, store) as running:
            stream.breaks("norm", running)
        newest = max(m.version for m in stream.line() if m.changes and m.gate.servable)
        until(lambda: newest in applied(address))
        assert applied(address) <= {m.version for m in stream.line() if m.gate.servable}
