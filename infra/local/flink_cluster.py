"""A standalone Flink cluster from the Python wheel, by plain `java`; must not know jobs or SQL, nor import pyflink."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from infra.errors import Invalid, Unavailable
from infra.local import flink_settings
from infra.local.jars import flink_kafka_connector, flink_s3_plugin
from infra.local.java import java_executable
from infra.local.ports import HOST, free_ports, require_free
from infra.local.process import READY_SECONDS, Process

REQUEST_SECONDS = 5.0
GRACE_SECONDS = 10.0
CURE = "read the log above; a second start takes other ports"
_SESSION = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_APPLICATION = "org.apache.flink.container.entrypoint.StandaloneApplicationClusterEntryPoint"


class FlinkCluster:
    """One JobManager and some TaskManagers on this machine.

    A killed TaskManager is noticed within ten seconds and its jobs wait for a new one. A killed JobManager forgets its
    jobs (there is no high availability here): whoever submitted them submits them again.

    Args:
        home: Folder of its own; settings and temporary files go there.
        logs: Folder for `flink-jobmanager.log` and `flink-taskmanager-<n>.log`.
        ports: REST, RPC and blob port; None takes free ones.
        task_managers: How many TaskManagers `start` starts.
        slots: Task slots per TaskManager.
        settings: More Flink settings, key -> value; they win over the built-in ones.
        worker_options: More options for the JVM of a TaskManager; they win over the built-in ones.
        keep_open: File descriptors to hand to the processes.
        application: Arguments of the JobManager that make it run one program of its own, as `--job-classname` and what
            that wants; without them it takes jobs from anyone.
    """

    name = "flink"

    def __init__(
        self,
        home: Path,
        logs: Path,
        *,
        ports: Sequence[int] | None = None,
        task_managers: int = 1,
        slots: int = 8,
        settings: Mapping[str, str] | None = None,
        worker_options: Sequence[str] = (),
        keep_open: Sequence[int] = (),
        application: Sequence[str] = (),
    ) -> None:
        self.rest_port, self.rpc_port, self.blob_port = ports if ports is not None else free_ports(3)
        self.rest = f"http://{HOST}:{self.rest_port}"
        self.slots = slots
        self._home = home.absolute()
        self._logs = logs
        self._keep_open = keep_open
        self._worker_options = (*flink_settings.TASK_MANAGER_OPTIONS, *worker_options)
        self._settings = flink_settings.cluster(self._home, self.rest_port, self.rpc_port, self.blob_port, slots)
        self._settings.update(settings or {})
        self._written = False
        self._started = 0
        self.job_manager = self._process(
            "flink-jobmanager",
            "flink-jobmanager",
            flink_settings.JOB_MANAGER_OPTIONS,
            _APPLICATION if application else _SESSION,
            *application,
        )
        self.task_managers = [self._task_manager(number) for number in range(task_managers)]

    @property
    def running(self) -> bool:
        return self.job_manager.alive and all(process.alive for process in self.task_managers)

    @property
    def processes(self) -> list[Process]:
        return [self.job_manager, *self.task_managers]

    def launch(self) -> None:
        """Starts every process that does not run and returns before they answer."""
        if not self._written:
            self._write_folder()
        if not self.job_manager.alive:
            self._launch_job_manager()
        for number, process in enumerate(self.task_managers):
            if not process.alive:
                self._launch_task_manager(number)

    def await_ready(self) -> None:
        """Returns when the JobManager answers and counts the slots of every TaskManager.

        Raises:
            Unavailable: A process ended, or the cluster was not complete within three minutes.
        """
        self._await(self.job_manager, [])
        for process in self.task_managers:
            self._await(process, [process])

    def start(self) -> None:
        """`launch` and `await_ready`."""
        self.launch()
        self.await_ready()

    def stop(self) -> None:
        """Shuts all processes down in order, TaskManagers first."""
        for process in reversed(self.processes):
            process.signal_stop()
        for process in reversed(self.processes):
            process.terminate()

    def kill(self) -> None:
        """Kills all processes with SIGKILL."""
        for process in self.processes:
            process.signal_kill()
        for process in self.processes:
            process.kill()

    def kill_job_manager(self) -> None:
        """Kills the JobManager with SIGKILL; its jobs are gone."""
        self.job_manager.kill()

    def start_job_manager(self) -> None:
        """Starts the JobManager again on the same ports; returns when the living TaskManagers have come back to it."""
        self._launch_job_manager()
        self._await(self.job_manager, self.task_managers)

    def kill_task_manager(self, number: int = 0) -> None:
        """Kills TaskManager ``number`` with SIGKILL."""
        self.task_managers[number].kill()

    def start_task_manager(self, number: int = 0) -> None:
        """Starts TaskManager ``number`` again; returns when the JobManager counts its slots."""
        process = self._launch_task_manager(number)
        self._await(process, [process])

    def registered(self) -> set[str]:
        """The names of the TaskManagers that the JobManager counts; a killed one until its heartbeat times out.

        Raises:
            Unavailable: The JobManager does not answer, or somebody else answers at its address.
        """
        with self._client() as client:
            return self._registered(client)

    def _await(self, process: Process, task_managers: Sequence[Process]) -> None:
        """Returns when the JobManager counts those of ``task_managers`` that live; else ``process`` is to blame."""
        # One client: each new one reads every certificate there is, 50 ms of a core that what is awaited could use.
        with self._client() as client:
            process.wait_until_ready(
                lambda: {one.name for one in task_managers if one is process or one.alive} <= self._registered(client),
                READY_SECONDS,
            )

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self.rest, timeout=REQUEST_SECONDS, trust_env=False)

    def _registered(self, client: httpx.Client) -> set[str]:
        try:
            answer = client.get("/taskmanagers")
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable(f"flink's JobManager does not answer: {error!r}", where=self.rest) from error
        try:
            return {one["id"] for one in answer.json()["taskmanagers"] if one["slotsNumber"] == self.slots}
        except (ValueError, KeyError, TypeError):
            raise Unavailable("no JobManager of flink's answers there", where=self.rest) from None

    def _launch_job_manager(self) -> None:
        for port in (self.rest_port, self.rpc_port, self.blob_port):
            require_free(port, self.job_manager.name)
        self.job_manager.start()

    def _launch_task_manager(self, number: int) -> Process:
        process = self._task_manager(number)
        process.start()
        self.task_managers[number] = process
        return process

    def _task_manager(self, number: int) -> Process:
        # A name of its own for every start, so that the JobManager's list tells the new one from the one killed before.
        self._started += 1
        name = f"taskmanager-{number}-{self._started}"
        return self._process(
            name,
            f"flink-taskmanager-{number}",
            self._worker_options,
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            f"-Dtaskmanager.resource-id={name}",
            niceness=flink_settings.TASK_MANAGER_NICENESS,
        )

    def _process(
        self, name: str, log: str, options: Sequence[str], main_class: str, *arguments: str, niceness: int = 0
    ) -> Process:
        conf = self._home / "conf"
        classpath = [*sorted((flink_home() / "lib").glob("*.jar")), flink_kafka_connector()]
        return Process(
            name,
            [
                java_executable(),
                *flink_settings.JAVA_OPTIONS,
                *options,
                f"-Dlog4j2.configurationFile=file:{conf / 'log4j.properties'}",
                "-cp",
                ":".join(map(str, classpath)),
                main_class,
                "--configDir",
                str(conf),
                *arguments,
            ],
            self._logs / f"{log}.log",
            niceness=niceness,
            environment={
                **os.environ,
                "FLINK_CONF_DIR": str(conf),
                "FLINK_PLUGINS_DIR": str(self._home / "plugins"),
                "FLINK_LIB_DIR": str(flink_home() / "lib"),
                "FLINK_OPT_DIR": str(flink_home() / "opt"),
            },
            folder=self._home,
            grace_seconds=GRACE_SECONDS,
            cure=CURE,
            keep_open=self._keep_open,
        )

    def _write_folder(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
        for name in ("conf", "plugins/s3", "tmp", "web"):
            (self._home / name).mkdir(parents=True)
        (self._home / "conf" / "config.yaml").write_text(flink_settings.as_yaml(self._settings), encoding="utf-8")
        (self._home / "conf" / "log4j.properties").write_text(flink_settings.LOGGING, encoding="utf-8")
        plugin = flink_s3_plugin()
        (self._home / "plugins" / "s3" / plugin.name).symlink_to(plugin)
        self._written = True


def flink_home() -> Path:
    """The folder of the Flink distribution in the Python wheel, found without importing it.

    Raises:
        Invalid: The wheel is not installed.
    """
    spec = importlib.util.find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise Invalid(
            "Flink (the wheel apache-flink) is not installed", cure="run `make setup`, or install springtide[demo]"
        )
    return Path(spec.origin).parent
