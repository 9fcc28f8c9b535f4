"""Every event that a room logs is explained to the operator, and none that it does not log."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from springtide.reference import ROOMS

ROOT = Path(__file__).resolve().parents[1]
LEVELS = {"debug", "info", "warning", "error", "exception"}


def trees(room: str) -> Iterator[ast.Module]:
    for file in sorted((ROOT / room).rglob("*.py")):
        if "local" not in file.parts and file.name != "log_events.py":
            yield ast.parse(file.read_text("utf-8"))


def logged(tree: ast.Module) -> Iterator[ast.expr]:
    """What stands first in each call of a log."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "_log"
        ):
            yield node.args[0]


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_every_event_of_a_room_is_explained_and_none_else(room: str) -> None:
    named: set[str] = set()
    texts: set[str] = set()
    for tree in trees(room):
        named |= {str(first.value) for first in logged(tree) if isinstance(first, ast.Constant)}
        texts |= {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    told = ROOMS[room].keys()
    assert named - told == set()
    # Some are handed to who logs them by name.
    assert told - texts == set()
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in named)


def test_every_room_that_logs_has_its_events_explained() -> None:
    rooms = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert {room for room in rooms if any(True for tree in trees(room) for _ in logged(tree))} == ROOMS.keys()
