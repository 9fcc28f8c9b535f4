"""Holds the plan of the house: who may import whom, how long a file may be; knows no room's inside."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOOR = {
    "springtide": 4,
    "learner": 3,
    "serving": 3,
    "dashboard": 3,
    "streaming": 2,
    "checkpointing": 2,
    "kernels": 1,
    "infra": 1,
}
# A third-party client or a door to the outside, and the only places that may hold it.
RATIONED = {
    "confluent_kafka": ("infra/kafka",),
    "obstore": ("infra/object_store",),
    "minio": ("infra/object_store",),
    "pyflink": ("streaming/",),
    "tensorflow": ("learner/", "serving/"),
    "keras": ("learner/",),
    "ai_edge_litert": ("serving/",),
    "grpc": ("serving/",),
    "random": ("infra/clock.py",),
    "secrets": ("infra/clock.py",),
    "uuid": ("infra/clock.py",),
}
# What they read runs as code, or may; bytes from anywhere are read by a schema instead.
RUNS_CODE = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
MAY_RUN_CODE = re.compile(rf"allow_pickle|\b({'|'.join(RUNS_CODE)})\b")
CLOCK_CALLS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("time", "sleep")}
# Started with a bare Python before anything is installed, or before the house's own imports exist.
BARE = {"infra/bootstrap.py", "infra/clock.py", "infra/local/leash.py"}
MAX_LINES = 400


def tracked() -> list[str]:
    """Every file that git tracks or would track, relative to the root."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


def room_files() -> list[str]:
    return [name for name in tracked() if name.endswith(".py") and name.split("/")[0] in FLOOR]


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node.lineno


def parse(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), filename=name)


@pytest.mark.parametrize("name", room_files())
def test_imports_point_down_only(name: str) -> None:
    room = name.split("/", maxsplit=1)[0]
    wrong = [
        f"{name}:{line} imports {module}"
        for module, line in imports(parse(name))
        if (other := module.split(".")[0]) in FLOOR and other != room and FLOOR[other] >= FLOOR[room]
    ]
    assert wrong == []


@pytest.mark.parametrize("name", room_files())
def test_clients_are_rationed(name: str) -> None:
    wrong = [
        f"{name}:{line} imports {module}; allowed in {', '.join(RATIONED[module.split('.')[0]])}"
        for module, line in imports(parse(name))
        if (places := RATIONED.get(module.split(".")[0])) and not name.startswith(places)
    ]
    assert wrong == []


def test_no_module_reads_what_runs_code() -> None:
    """Not even in a test: ``allow_pickle`` is NumPy's way to the same."""
    wrong = []
    for name in tracked():
        if not name.endswith(".py") or not MAY_RUN_CODE.search((ROOT / name).read_text(encoding="utf-8")):
            continue
        tree = parse(name)
        wrong += [f"{name}:{line} imports {one}" for one, line in imports(tree) if one.split(".")[0] in RUNS_CODE]
        wrong += [
            f"{name}:{node.value.lineno} says allow_pickle"
            for node in ast.walk(tree)
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False"
        ]
    assert wrong == []


@pytest.mark.parametrize("name", room_files())
def test_wall_clock_is_read_through_one_door(name: str) -> None:
    if name in BARE:
        return
    wrong = [
        f"{name}:{node.lineno} calls {node.func.value.id}.{node.func.attr}"
        for node in ast.walk(parse(name))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr) in CLOCK_CALLS
    ]
    assert wrong == []


@pytest.mark.parametrize("name", room_files())
def test_first_line_says_what_the_file_knows(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text.startswith('"""'), f"{name} begins with no docstring"
    assert len(text.splitlines()[0]) > 20, f"{name} says nothing in its first line"


def test_no_file_is_longer_than_one_idea() -> None:
    code = [n for n in tracked() if re.search(r"\.(py|cc|cpp|h|hpp|java|js|css|html)$", n) and ".min." not in n]
    long = {name: lines for name in code if (lines := len((ROOT / name).read_bytes().splitlines())) > MAX_LINES}
    assert long == {}


def test_every_top_level_name_is_known() -> None:
    """A new top-level folder is a new room: it belongs into the plan first."""
    beside = {"tests", "benchmarks", "docs", "helm", ".ci"}
    folders = {name.split("/")[0] for name in tracked() if "/" in name}
    assert folders <= FLOOR.keys() | beside


def test_nothing_secret_or_foreign_is_tracked() -> None:
    """No absolute path of a machine and no index address may stand in a tracked text file."""
    pattern = re.compile(r"/work/(main|shared)|/root/|--index-url|--extra-index-url")
    found = []
    for name in tracked():
        if name == "tests/test_house.py" or ".min." in name:
            continue
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {match.group(0)}" for match in pattern.finditer(text)]
    assert found == []
