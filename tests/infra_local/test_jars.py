"""Holds that a jar which is missing, changed or foreign is named before anything starts."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hashlib import sha512
from pathlib import Path

import pytest

from infra.errors import Corrupt, Unavailable
from infra.local import jars


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two jars and their list, as the real ones are laid out."""
    lines = []
    for name in ("kafka/broker-1.jar", "flink/plugin-2.jar"):
        path = tmp_path / "jars" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(name.encode() * 1000)
        lines.append(f"{sha512(path.read_bytes()).hexdigest()}  {name}\n")
    (tmp_path / "list").write_text("".join(lines))
    return tmp_path / "jars"


def verify(folder: Path) -> None:
    jars.verify(folder, folder.with_name("list"))


def test_the_right_jars_pass(folder: Path) -> None:
    verify(folder)


def test_the_jars_of_this_checkout_pass() -> None:
    jars.verify()
    names = jars.expected().keys()
    assert {jars.FLINK_KAFKA_CONNECTOR, jars.FLINK_S3_PLUGIN} <= names
    assert any(name.startswith("kafka/kafka_2.13-") for name in names)


def test_a_changed_byte_is_named(folder: Path) -> None:
    jar = folder / "kafka" / "broker-1.jar"
    content = bytearray(jar.read_bytes())
    content[500] ^= 1
    jar.write_bytes(content)
    with pytest.raises(Corrupt, match=r"kafka/broker-1\.jar has sha512 [0-9a-f]{12}…, wanted [0-9a-f]{12}…") as caught:
        verify(folder)
    assert "plugin" not in caught.value.what
    assert "make setup" in caught.value.cure


def test_a_missing_jar_is_named(folder: Path) -> None:
    (folder / "flink" / "plugin-2.jar").unlink()
    with pytest.raises(Unavailable, match=r"missing: flink/plugin-2\.jar"):
        verify(folder)


def test_a_foreign_jar_is_named(folder: Path) -> None:
    (folder / "kafka" / "other.jar").write_bytes(b"x")
    with pytest.raises(Corrupt, match=r"kafka/other\.jar is not in the list"):
        verify(folder)
