"""Where the stack's jars lie and whether they are the right ones; standard library only, used before any set-up."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from infra.errors import Corrupt, Unavailable

ROOT = Path(__file__).resolve().parents[2]
IS_CHECKOUT = (ROOT / "requirements.lock").is_file()
# Beside the checkout's sources; of an installed package in its environment, where images carry them.
HOME = ROOT / ".springtide" if IS_CHECKOUT else Path(sys.prefix) / "share" / "springtide"
JARS = HOME / "jars"
CHECKSUMS = Path(__file__).with_name("checksums.sha512")
FLINK_KAFKA_CONNECTOR = "flink/flink-sql-connector-kafka-5.0.0-2.2.jar"
FLINK_S3_PLUGIN = "flink/flink-s3-fs-native-2.3.0.jar"
# What events in an encoding are read with, beside the decoder that set-up compiles.
ENCODINGS: dict[str, tuple[str, ...]] = {
    "json": (),
    "avro": ("flink/flink-sql-avro-2.3.0.jar",),
    "protobuf": ("flink/protobuf-java-4.29.3.jar",),
}
DECODER = HOME / "decoder" / "springtide-events.jar"
SET_UP = "run `make setup`" if IS_CHECKOUT else f"run `{sys.executable} -m infra.bootstrap`"
CURE = f"delete {JARS.relative_to(ROOT) if IS_CHECKOUT else JARS} and {SET_UP}"


def expected(checksums: Path = CHECKSUMS) -> dict[str, str]:
    """Relative path -> sha512 in hexadecimal, as `sha512sum` writes it."""
    pairs = (line.split(maxsplit=1) for line in checksums.read_text(encoding="ascii").splitlines() if line.strip())
    return {name: digest for digest, name in pairs}


def verify(folder: Path = JARS, checksums: Path = CHECKSUMS) -> None:
    """Checks every jar of the list, and that no other jar lies beside them (it would be on the class path).

    Reads everything: 70 MB take a quarter of a second.

    Raises:
        Unavailable: A jar is missing.
        Corrupt: A jar differs from the list, or one lies there that is not in it.
    """
    wanted = expected(checksums)
    present = {str(path.relative_to(folder)) for path in folder.glob("*/*.jar")}
    missing = sorted(wanted.keys() - present)
    if missing:
        raise Unavailable(f"jars are missing: {', '.join(missing)}", cure=SET_UP, where=str(folder))
    wrong = [f"{name} is not in the list" for name in sorted(present - wanted.keys())]
    for name, digest in wanted.items():
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha512").hexdigest()
        if found != digest:
            wrong.append(f"{name} has sha512 {found[:12]}…, wanted {digest[:12]}…")
    if wrong:
        raise Corrupt(f"jars are not the pinned ones: {'; '.join(wrong)}", cure=CURE, where=str(folder))


def kafka_classpath(folder: Path = JARS) -> str:
    """The broker's class path."""
    return str(folder / "kafka" / "*")


def flink_kafka_connector(folder: Path = JARS) -> Path:
    """The jar that teaches Flink to read and write Kafka; wanted on the class path of the cluster and of its client."""
    return folder / FLINK_KAFKA_CONNECTOR


def event_decoder(encodings: Iterable[str] = ENCODINGS, folder: Path = JARS) -> tuple[Path, ...]:
    """The jars by which Flink reads events in ``encodings``; sent to the cluster with each job."""
    return (DECODER, *(folder / name for encoding in sorted(encodings) for name in ENCODINGS[encoding]))


def flink_s3_plugin(folder: Path = JARS) -> Path:
    """The jar that teaches Flink `s3://`; wanted in the cluster's plugin folder."""
    return folder / FLINK_S3_PLUGIN
