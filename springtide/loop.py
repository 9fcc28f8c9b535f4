"""The platform's own processes on this machine, started, watched and stopped together; knows no data set."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx

from infra.errors import Unavailable
from infra.kafka import KafkaAdmin, TopicSettings
from infra.local.process import Process
from infra.pipeline_file import dump_pipeline
from infra.spec import Pipeline
from springtide.upkeep import NICENESS

# Of processor time a start takes a minute and a half: TensorFlow three times, a JVM that plans. A laptop may be busy.
READY_SECONDS = 300.0
GRACE_SECONDS = 15.0
# By command: a session of its own stands back as a whole, or not at all.
STANDS_BACK = {"compact": NICENESS}


class Loop:
    """Join, learner, compactor, replicas and page of one pipeline, each a process of its own with its log.

    Args:
        pipeline: The pipeline; its targets say where each process listens.
        home: A folder; the pipeline is written there as `pipeline.yaml`.
        logs: Folder for `<process>.log`.
        page: Whether to start the page.
    """

    def __init__(self, pipeline: Pipeline, home: Path, logs: Path, *, page: bool = True) -> None:
        self.pipeline = pipeline
        self.file = home / "pipeline.yaml"
        self.logs = logs
        home.mkdir(parents=True, exist_ok=True)
        self.file.write_text(dump_pipeline(pipeline), encoding="utf-8")
        targets = pipeline.dashboard.targets
        self.addresses: dict[str, str] = {"join": targets.join or "", "learner": targets.learner or ""}
        commands: dict[str, list[str]] = {
            "join": ["join"],
            "learner": ["learn", "--identity", "learner-0"],
            "compactor": ["compact"],
        }
        for number, address in enumerate(targets.replicas):
            name = f"replica-{number}"
            commands[name] = ["serve", "--name", name, "--port", address.rsplit(":", 1)[1]]
            self.addresses[name] = address
        if page:
            commands["page"] = ["dashboard"]
            self.addresses["page"] = f"http://{pipeline.dashboard.host}:{pipeline.dashboard.port}"
        self._commands = commands
        self.processes = {name: self._process(name, words) for name, words in commands.items()}

    @property
    def replicas(self) -> tuple[str, ...]:
        """Names of the replicas."""
        return tuple(name for name in self.processes if name.startswith("replica-"))

    def create_topics(self, partitions: int = 1) -> None:
        """Creates the topics that would be the user's own; existing ones stay as they are."""
        events = self.pipeline.events
        names = [events.impressions.topic, *(feedback.topic for feedback in events.feedback)]
        KafkaAdmin(self.pipeline.kafka).ensure_topics([TopicSettings(name, partitions) for name in names])

    def start(self, progress: Callable[[str], None] = lambda name: None) -> None:
        """Starts every process and returns when all of them are ready.

        Raises:
            Unavailable: One did not start; its last log lines are in the message, and all are stopped.
        """
        try:
            for process in self.processes.values():
                process.start()
            for name in self.processes:
                self.await_ready(name)
                progress(name)
        except BaseException:
            self.stop()
            raise

    def await_ready(self, name: str) -> None:
        """Waits until the process answers that it is ready; the compactor answers nobody, and nobody waits for it."""
        if name not in self.addresses:
            return
        # One client: each new one reads every certificate there is, 50 ms of a core that what is awaited could use.
        with httpx.Client(base_url=self.addresses[name], timeout=2.0, trust_env=False) as client:
            self.processes[name].wait_until_ready(lambda: is_ready(client), READY_SECONDS)

    def restart(self, name: str, *options: str) -> None:
        """Starts a process that has ended, with ``options`` behind its command, and waits until it is ready."""
        self.processes[name] = self._process(name, [*self._commands[name], *options])
        self.processes[name].start()
        self.await_ready(name)

    def dead(self) -> Iterable[Process]:
        """The processes that have ended though nobody stopped them."""
        return (process for process in self.processes.values() if not process.alive)

    def require_alive(self) -> None:
        """Checks that every process runs.

        Raises:
            Unavailable: One has ended; its last log lines are in the message.
        """
        for process in self.dead():
            raise process.failure(f"ended with exit status {process.exit_code}")

    def stop(self) -> None:
        """Asks all processes to leave, in the order of the stream, and waits for them."""
        for process in self.processes.values():
            process.signal_stop()
        for process in self.processes.values():
            process.terminate()

    def _process(self, name: str, words: list[str]) -> Process:
        program = [sys.executable, "-m", "springtide", words[0], str(self.file), *words[1:]]
        return Process(
            name,
            program,
            self.logs / f"{name}.log",
            grace_seconds=GRACE_SECONDS,
            niceness=STANDS_BACK.get(words[0], 0),
            cure=f"read {self.logs / name}.log; `springtide doctor {self.file}` examines the servers",
        )


def is_ready(client: httpx.Client) -> bool:
    """Whether the process that ``client`` asks says that it is ready."""
    try:
        return client.get("/readyz").status_code == httpx.codes.OK
    except httpx.TransportError as error:
        raise Unavailable(f"{str(client.base_url).rstrip('/')} does not answer: {error}") from error
