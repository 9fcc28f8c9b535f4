"""The local Flink cluster's settings: memory, ports, checkpoints, failure times; must not start anything."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infra.local.ports import HOST

# Flink on Java 17 reaches into these packages; the list is that of the distribution's own config.yaml.
EXPORTS = (
    "java.rmi/sun.rmi.registry",
    "jdk.compiler/com.sun.tools.javac.api",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.compiler/com.sun.tools.javac.parser",
    "jdk.compiler/com.sun.tools.javac.tree",
    "jdk.compiler/com.sun.tools.javac.util",
    "java.security.jgss/sun.security.krb5",
)
OPENS = (
    "java.base/java.lang",
    "java.base/java.net",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/sun.nio.ch",
    "java.base/java.lang.reflect",
    "java.base/java.text",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
)
JAVA_OPTIONS = (
    *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
    *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS),
    "-XX:+UseG1GC",
    "-XX:MaxMetaspaceSize=256m",
    "-Djava.awt.headless=true",
)
JOB_MANAGER_OPTIONS = ("-Xms192m", "-Xmx448m", "-XX:MaxDirectMemorySize=128m", "-XX:TieredStopAtLevel=1")
# Heap = framework + task heap, direct memory = framework off-heap + task off-heap + network, as Flink's own start
# scripts compute them. With metaspace and code cache the process stays below 1.4 GiB.
TASK_MANAGER_OPTIONS = ("-Xms256m", "-Xmx704m", "-XX:MaxDirectMemorySize=256m", "-XX:TieredStopAtLevel=1")
# It has a hundred threads, ten of which write a checkpoint at once: all others on the machine would wait for those.
# Two steps back are enough for them; at four the join itself comes too late (docs/LOG.md).
TASK_MANAGER_NICENESS = 2
TASK_MANAGER_MEMORY = {
    "taskmanager.cpu.cores": "2.0",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.task.heap.size": "576m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.network.min": "128m",
    "taskmanager.memory.network.max": "128m",
    "taskmanager.memory.managed.size": "64m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}
FAILURES = {
    # The default of 50 s would keep a killed TaskManager's tasks "running" for most of a minute.
    "heartbeat.interval": "2 s",
    "heartbeat.timeout": "10 s",
    # An outage of Kafka, the store or a TaskManager is waited out, however long it takes.
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "2147483647",
    "restart-strategy.fixed-delay.delay": "1 s",
    "execution.checkpointing.tolerable-failed-checkpoints": "2147483647",
}

LOGGING = """\
status = error
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = Console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
logger.pekko.name = org.apache.pekko
logger.pekko.level = warn
logger.kafka.name = org.apache.kafka
logger.kafka.level = warn
logger.amazon.name = software.amazon.awssdk
logger.amazon.level = warn
logger.checkpoints.name = org.apache.flink.runtime.checkpoint
logger.checkpoints.level = warn
logger.alignment.name = org.apache.flink.runtime.source.coordinator.SourceCoordinator
logger.alignment.level = warn
"""


def cluster(home: Path, rest_port: int, rpc_port: int, blob_port: int, slots: int) -> dict[str, str]:
    """Settings of a cluster that listens on the loopback address only and keeps its files in ``home``."""
    return {
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": str(rpc_port),
        "jobmanager.bind-host": HOST,
        "blob.server.port": str(blob_port),
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": str(rest_port),
        "rest.bind-port": str(rest_port),
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "taskmanager.numberOfTaskSlots": str(slots),
        "io.tmp.dirs": str(home / "tmp"),
        "web.tmpdir": str(home / "web"),
        "state.backend.type": "hashmap",
        "execution.checkpointing.storage": "filesystem",
        "execution.checkpointing.dir": (home / "checkpoints").as_uri(),
        "execution.checkpointing.savepoint-dir": (home / "savepoints").as_uri(),
        # A job cannot set this for itself. Who submits it again may know an older one only.
        "execution.checkpointing.num-retained": "5",
        **TASK_MANAGER_MEMORY,
        **FAILURES,
    }


def s3_checkpoints(endpoint: str, access_key: str, secret_key: str, bucket: str, region: str) -> dict[str, str]:
    """Checkpoints in ``bucket``, on an S3 server that is not Amazon's."""
    return {
        "execution.checkpointing.dir": f"s3://{bucket}/flink/checkpoints",
        "execution.checkpointing.savepoint-dir": f"s3://{bucket}/flink/savepoints",
        "s3.endpoint": endpoint,
        "s3.region": region,
        "s3.access-key": access_key,
        "s3.secret-key": secret_key,
        "s3.path-style-access": "true",
        # Amazon's newer upload framings, which other servers refuse.
        "s3.chunked-encoding.enabled": "false",
        "s3.checksum-validation.enabled": "false",
    }


def as_yaml(settings: Mapping[str, str]) -> str:
    """The text of a `config.yaml` with flat keys."""
    return "".join(f'{key}: "{value}"\n' for key, value in settings.items())
