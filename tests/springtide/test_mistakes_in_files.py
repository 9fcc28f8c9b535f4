"""Typical mistakes that need no server, each made really: the documented message and exit code."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local.ports import free_ports
from tests.infra.pipelines import GOOD, changed
from tests.springtide.mistakes import Said, assert_said, call, table

# What is replaced in a right pipeline.yaml, by what; `check` answers.
IN_THE_FILE: dict[int, tuple[str, str]] = {
    2: ("join:\n", "join:\n\t"),
    3: ("  window: 10m", "  windw: 10m"),
    4: ("window: 10m\n", "window: 10\n"),
    5: ("store:\n", "stor:\n"),
    6: ("source: user,", "source: usr,"),
    7: ("table: users}", "table: user}"),
    8: ("{name: price, type: number}", "{name: kind, type: number}"),
    9: ("correction_window: 1h", "correction_window: 5m"),
    10: ("name: deepfm", "name: depfm"),
    11: ("topic: clicks", "topic: shown"),
    12: ("  bootstrap: 127.0.0.1:9092\n", "  bootstrap: 127.0.0.1:9092\n  security: sasl_ssl\n"),
    13: ("{env: STORE_ACCESS_KEY}", "{env: STORE_ACCESS_KEY, value: x}"),
    14: ("commit_interval: 1s", "commit_interval: true"),
    15: ("time: ts\n    fields", "time: ts\n    time_unit: nanoseconds\n    fields"),
    16: ("s3://bucket/demo", "gs://bucket/demo"),
}


def written(folder: Path, text: str = GOOD, name: str = "pipeline.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def local(folder: Path, text: str = GOOD) -> str:
    """A right pipeline whose store is a folder, so that no server is asked."""
    begin = text.index("  url: s3://")
    return written(folder, text[:begin] + f"  url: {(folder / 'store').as_uri()}\n")


def absent(folder: Path) -> Said:
    return call("check", str(folder / "absent.yaml"))


def secret_not_set(folder: Path) -> Said:
    return call("versions", written(folder))


def secret_file_absent(folder: Path) -> Said:
    text = changed("{env: STORE_ACCESS_KEY}", "{value: x}").replace("{env: STORE_SECRET_KEY}", "{file: /run/absent}")
    return call("versions", written(folder, text))


def authority_absent(folder: Path) -> Said:
    ca = ["--security", "ssl", "--ca", str(folder / "absent.pem")]
    return call("init", "--bootstrap", "127.0.0.1:1", "--impressions", "a", "--feedback", "b", "-o", "-", *ca)


def port_in_use(folder: Path) -> Said:
    path = local(folder)
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        return call("serve", path, "--port", str(port))


def name_changed(folder: Path) -> Said:
    return call("plan", written(folder), written(folder, changed("name: demo", "name: other"), "new.yaml"))


def no_such_version(folder: Path) -> Said:
    return call("inspect", "7", local(folder))


def rollback_to_nothing(folder: Path) -> Said:
    return call("rollback", "7", local(folder))


def probes_off(folder: Path) -> Said:
    return call("probe", local(folder))


def objective_out_of_reach(folder: Path) -> Said:
    return call("size", written(folder), "--slo", "200ms")


def unknown_command(folder: Path) -> Said:
    return call("chek", str(folder))


def since_without_unit(folder: Path) -> Said:
    return call("late", "list", written(folder), "--since", "2")


def file_there_already(folder: Path) -> Said:
    topics = ["--bootstrap", "127.0.0.1:1", "--impressions", "a", "--feedback", "b"]
    return call("init", *topics, "-o", written(folder))


MADE: dict[int, Callable[[Path], Said]] = {
    1: absent,
    17: secret_not_set,
    18: secret_file_absent,
    19: authority_absent,
    20: port_in_use,
    21: name_changed,
    22: no_such_version,
    23: rollback_to_nothing,
    24: probes_off,
    25: objective_out_of_reach,
    26: unknown_command,
    27: since_without_unit,
    28: file_there_already,
}


@pytest.mark.parametrize("number", sorted(IN_THE_FILE))
def test_a_mistake_in_the_file(number: int, tmp_path: Path) -> None:
    row = table()[number]
    assert row.command == "check"
    assert_said(row, call("check", written(tmp_path, changed(*IN_THE_FILE[number]))))


@pytest.mark.parametrize("number", sorted(MADE))
def test_a_mistake_without_a_server(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORE_ACCESS_KEY", raising=False)
    assert_said(table()[number], MADE[number](tmp_path))


def test_every_row_of_the_document_is_made_and_they_are_forty_at_least() -> None:
    from tests.springtide import test_mistakes_with_servers as servers

    assert sorted(table()) == sorted([*IN_THE_FILE, *MADE, *servers.MADE])
    assert len(table()) >= 40
