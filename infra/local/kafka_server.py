"""A single-node Kafka broker (KRaft) from its jars; must not know topics or messages."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from infra.clock import new_uuid
from infra.errors import Unavailable
from infra.kafka import KafkaAdmin
from infra.local.jars import kafka_classpath
from infra.local.java import java_executable
from infra.local.ports import HOST, free_ports, is_free, require_free
from infra.local.process import READY_SECONDS
from infra.local.server_process import ServerProcess
from infra.spec import Kafka

HEAP = "512m"
PROBE_SECONDS = 1.0
FORMAT_SECONDS = 60.0
GRACE_SECONDS = 10.0
JAVA_OPTIONS = ("-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:MaxMetaspaceSize=128m", "-Djava.awt.headless=true")
# The tool lives for two seconds: no time for the optimising compiler.
FORMAT_OPTIONS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

# What any broker is told that is alone.
ONE_BROKER = """\
# One broker: every internal topic has one replica, and few partitions (each costs files and start-up time).
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
"""

PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=BROKER://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=BROKER://{host}:{port},CONTROLLER://{host}:{controller_port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers={host}:{controller_port}
log.dirs={data}
# A missing topic is an error that must be seen, not a new topic.
auto.create.topics.enable=false
# A killed broker comes back as a new incarnation, which is refused until the session of the old one has ended.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
# 128 MiB of heap by default, for a cleaner that has next to nothing to do here.
log.cleaner.dedupe.buffer.size=8388608
{one_broker}"""

LOGGING = """\
status = error
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = Console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
logger.server.name = org.apache.kafka.server
logger.server.level = warn
logger.raft.name = kafka.server.KafkaRaftServer
logger.raft.level = info
"""


class KafkaServer(ServerProcess):
    """A Kafka broker on this machine.

    Its data live as long as this object: `kill` and `start` bring back every message that was acknowledged.

    Args:
        home: Folder of its own; its data and settings go there.
        logs: Folder for `kafka.log`.
        ports: The broker's and the controller's port; None takes free ones.
        keep_data: Whether data of an earlier object in ``home`` are taken up; they need the same ports.
        keep_open: File descriptors to hand to the process.
    """

    name = "kafka"

    def __init__(
        self,
        home: Path,
        logs: Path,
        *,
        ports: Sequence[int] | None = None,
        keep_data: bool = False,
        keep_open: Sequence[int] = (),
    ) -> None:
        self.port, self.controller_port = ports if ports is not None else free_ports(2)
        self.bootstrap = f"{HOST}:{self.port}"
        self._home = home.absolute()
        self._data = self._home / "data"
        self._properties = self._home / "server.properties"
        self._logging = self._home / "log4j2.properties"
        self._formatted = keep_data and (self._data / "meta.properties").is_file()
        command = [
            java_executable(),
            f"-Xms{HEAP}",
            f"-Xmx{HEAP}",
            *JAVA_OPTIONS,
            f"-Dlog4j2.configurationFile=file:{self._logging}",
            "-cp",
            kafka_classpath(),
            "kafka.Kafka",
            str(self._properties),
        ]
        super().__init__(command, self._home, logs, grace_seconds=GRACE_SECONDS, keep_open=keep_open)

    def launch(self) -> None:
        """Formats the storage the first time, starts the broker and returns before it answers."""
        require_free(self.port, self.name)
        require_free(self.controller_port, f"{self.name} (controller)")
        if not self._formatted:
            self._format()
        self.process.start()

    def await_ready(self) -> None:
        """Returns when the broker answers a metadata request.

        Raises:
            Unavailable: It ended, or did not answer within three minutes.
        """
        admin = KafkaAdmin(Kafka(bootstrap=self.bootstrap))
        # Not asked before somebody listens: the client would report what is expected here as trouble.
        self.process.wait_until_ready(
            lambda: not is_free(self.port) and len(admin.describe(PROBE_SECONDS).brokers) == 1, READY_SECONDS
        )

    def _format(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
        self._data.mkdir(parents=True)
        self._logging.write_text(LOGGING, encoding="utf-8")
        text = PROPERTIES.format(
            host=HOST, port=self.port, controller_port=self.controller_port, data=self._data, one_broker=ONE_BROKER
        )
        self._properties.write_text(text, encoding="utf-8")
        cluster_id = base64.urlsafe_b64encode(bytes.fromhex(new_uuid())).decode().rstrip("=")
        tool = [java_executable(), *FORMAT_OPTIONS, f"-Dlog4j2.configurationFile=file:{self._logging}"]
        tool += ["-cp", kafka_classpath(), "kafka.tools.StorageTool"]
        # In one word: one id in 64 begins with a dash, and would be taken for an option.
        command = [*tool, "format", "--standalone", f"--cluster-id={cluster_id}", "-c", str(self._properties)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise Unavailable(
                f"kafka's storage was not formatted within {FORMAT_SECONDS:g} s",
                cure="end what keeps this machine or its disk busy, then start again",
                where=str(self._home),
            ) from None
        if done.returncode != 0:
            lines = "\n    ".join((done.stdout + done.stderr).strip().splitlines()[-10:])
            raise Unavailable(
                f"kafka's storage could not be formatted\n    {lines}\n",
                cure="end what the lines above name; a full disk is the usual one",
            )
        self._formatted = True
