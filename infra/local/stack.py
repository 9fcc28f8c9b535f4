"""Kafka, S3 and Flink started and stopped together in one folder; must not know what runs on them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self

from infra.clock import Clock, SystemClock, new_secret
from infra.errors import Invalid, Unavailable
from infra.local import flink_settings, jars
from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from infra.local.ports import HOST, free_ports
from infra.local.s3_server import S3Server

Part = Literal["kafka", "s3", "flink"]
# In the order of starting: the store and Flink come up by themselves while Kafka's storage is formatted.
PARTS: tuple[Part, ...] = ("s3", "flink", "kafka")
PORTS = {"kafka": 2, "s3": 8, "flink": 3}
# Who must be asked directly, whatever proxy the environment names: every client, and every child, looks into both.
DIRECT = (HOST, "localhost")
NO_PROXY = ("NO_PROXY", "no_proxy")
# What an earlier stack in the same folder may take to leave after its owner was killed.
LEFTOVER_SECONDS = 20.0
LOCK_POLL_SECONDS = 0.1

# Called with a part's name, "starting" or "up", and the seconds since the start.
Progress = Callable[[str, str, float], None]


class LocalStack:
    """The real servers on this machine, on free ports of the loopback address.

    Every part can be used by itself too: `stack.kafka.kill()`, `stack.flink.start_task_manager()`. Nothing outlives
    this process. Data and logs are fresh with every stack unless ``keep_data``.

    The environment's NO_PROXY is extended by the loopback address, for this process and its children.

    Args:
        home: A folder of its own, open to its owner only; data, settings and logs (`logs/<part>.log`) go there.
        parts: The parts that `start` starts; the others can still be started one by one.
        task_managers: How many Flink TaskManagers.
        slots: Task slots per TaskManager.
        worker_options: More options for the JVM of a Flink TaskManager, such as a larger heap.
        keep_data: Takes up ports, keys and data of the last stack in ``home`` and leaves its own behind.
        clock: Where waiting gets its time from.

    Raises:
        Unavailable: Jars are missing, or another stack runs in ``home``.
        Corrupt: Jars are not the pinned ones.
    """

    def __init__(
        self,
        home: Path,
        parts: Sequence[Part] = PARTS,
        *,
        task_managers: int = 1,
        slots: int = 8,
        worker_options: Sequence[str] = (),
        keep_data: bool = False,
        clock: Clock | None = None,
    ) -> None:
        unknown = sorted(set(parts) - set(PARTS))
        if unknown:
            raise Invalid(f"no such part: {', '.join(unknown)}", wanted=f"some of {', '.join(PARTS)}")
        jars.verify()
        self.home = home.absolute()
        self.logs = self.home / "logs"
        self.keep_data = keep_data
        self._wanted = [part for part in PARTS if part in parts]
        self._clock = clock or SystemClock()
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)  # secrets lie in it, also in a folder that was there before
        _bypass_proxies()
        self._lock: int | None = self._take_lock()
        if not keep_data:
            for log in self.logs.glob("*.log"):
                log.unlink()
        ports, secret_key = self._identity()
        self.kafka = KafkaServer(
            self.home / "kafka", self.logs, ports=ports["kafka"], keep_data=keep_data, keep_open=(self._lock,)
        )
        self.s3 = S3Server(
            self.home / "s3",
            self.logs,
            ports=ports["s3"],
            secret_key=secret_key,
            keep_data=keep_data,
            keep_open=(self._lock,),
        )
        # Flink alone keeps its checkpoints in a folder: an address where nobody listens would fail every checkpoint.
        s3 = self.s3
        checkpoints = flink_settings.s3_checkpoints(s3.endpoint, s3.access_key, s3.secret_key, s3.bucket, s3.region)
        self.flink = FlinkCluster(
            self.home / "flink",
            self.logs,
            ports=ports["flink"],
            task_managers=task_managers,
            slots=slots,
            settings=checkpoints if "s3" in parts else None,
            worker_options=worker_options,
            keep_open=(self._lock,),
        )
        self._parts: dict[Part, KafkaServer | S3Server | FlinkCluster] = {
            "s3": self.s3,
            "flink": self.flink,
            "kafka": self.kafka,
        }

    def start(self, progress: Progress | None = None) -> None:
        """Starts the parts that do not run yet, side by side, and returns when all of them answer real requests.

        Raises:
            SpringtideError: A part did not start; everything is stopped then, and the message holds its last log lines.
        """
        begin = self._clock.monotonic()

        def tell(part: Part, state: str) -> None:
            if progress is not None:
                progress(part, state, self._clock.monotonic() - begin)

        starting = [part for part in self._wanted if not self._parts[part].running]
        try:
            for part in starting:
                tell(part, "starting")
                self._parts[part].launch()
            for part in starting:
                self._parts[part].await_ready()
                tell(part, "up")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every part: at once where the data are thrown away anyway, in order where they are kept."""
        if self.keep_data:
            self.flink.stop()  # it writes to both others
            self.kafka.process.signal_stop()
            self.s3.process.signal_stop()
            self.kafka.stop()
            self.s3.stop()
        else:
            for process in [*self.flink.processes, self.kafka.process, self.s3.process]:
                process.signal_kill()
            for part in self._parts.values():
                part.kill()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _take_lock(self) -> int:
        """A lock that every process of this stack holds too, so that it is free only when the last has gone."""
        path = self.home / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        deadline = self._clock.monotonic() + LEFTOVER_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                owner = os.pread(descriptor, 32, 0).decode("ascii", errors="replace").strip()
                # A living owner will not go away by waiting; the leftovers of a dead one will.
                if Path(f"/proc/{owner}").exists() or self._clock.monotonic() >= deadline:
                    os.close(descriptor)
                    raise Unavailable(
                        f"another stack runs in this folder, owned by process {owner}",
                        cure="stop it or use another folder",
                        where=str(self.home),
                    ) from None
                self._clock.sleep(LOCK_POLL_SECONDS)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
        return descriptor

    def _identity(self) -> tuple[dict[str, list[int]], str]:
        """Ports per part and the secret key: kept data are bound to both."""
        path = self.home / "identity.json"
        if self.keep_data and path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
            return kept["ports"], kept["secret_key"]
        free = iter(free_ports(sum(PORTS.values())))
        ports = {part: [next(free) for _ in range(count)] for part, count in PORTS.items()}
        secret_key = new_secret()
        path.write_text(json.dumps({"ports": ports, "secret_key": secret_key}), encoding="utf-8")
        return ports, secret_key


def _bypass_proxies() -> None:
    """Extends both spellings by :data:`DIRECT` and by each other: clients differ in which one they prefer."""
    hosts = (host.strip() for name in NO_PROXY for host in os.environ.get(name, "").split(","))
    wanted = ",".join(dict.fromkeys(host for host in (*hosts, *DIRECT) if host))
    os.environ.update(dict.fromkeys(NO_PROXY, wanted))
