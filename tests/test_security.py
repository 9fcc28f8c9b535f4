"""The threat model names tests that exist; no source loads what may bring code; a secret shows in no message."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from infra.pipeline_file import dump_pipeline
from infra.spec import Pipeline, Secret
from springtide.cli import app
from tests.streaming.pipelines import pipeline

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "security.md"
PLANTED = "planted-Zx7-no-message-may-say-this"
# Whole models, which may hold functions of their maker's: Keras' archives and Lambda layers, TensorFlow's SavedModels.
LOADERS = {"load_model", "model_from_json", "model_from_config", "load_weights", "unsafe_deserialization", "safe_mode"}
# What was just written is read by TensorFlow itself in a process of its own, to compare answers and speed.
READS_ITS_OWN = {"tests/serving/test_saved_model.py", "benchmarks/serving_servers.py", "benchmarks/serving_workload.py"}


def named() -> list[tuple[str, str]]:
    """Every test that the threat model names: file and function."""
    return re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", DOCUMENT.read_text("utf-8"))


def test_every_threat_names_a_test() -> None:
    table = DOCUMENT.read_text("utf-8").partition("## Threats")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 15
    assert [row for row in rows if not re.search(r"`tests/\S+::test_\S+`", row.rsplit("|", 2)[1])] == []


@pytest.mark.parametrize(("file", "name"), sorted(set(named())), ids=str)
def test_a_named_test_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def sources() -> Iterator[tuple[str, ast.Module]]:
    rooms = ("springtide", "learner", "serving", "dashboard", "streaming", "checkpointing", "kernels", "infra")
    for folder in (*rooms, "tests", "benchmarks", "docs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))


def test_no_model_is_loaded_that_may_bring_code() -> None:
    """Neither by name nor by what is passed; `saved_model.load` and eval of text are the same in other words."""
    wrong = []
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in LOADERS:
                wrong.append(f"{name}:{node.lineno} uses {node.attr}")
            if isinstance(node, ast.keyword) and node.arg in LOADERS:
                wrong.append(f"{name}:{node.value.lineno} passes {node.arg}")
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("saved_model.load"):
                wrong.append(f"{name}:{node.lineno} loads a SavedModel")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}:
                wrong.append(f"{name}:{node.lineno} runs text")
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"yaml.load", "yaml.unsafe_load"}:
                loader = node.args[1:] + [each.value for each in node.keywords if each.arg == "Loader"]
                if not loader or "Safe" not in ast.unparse(loader[0]):
                    wrong.append(f"{name}:{node.lineno} reads YAML that may make objects")
    assert [each for each in wrong if each.partition(":")[0] not in READS_ITS_OWN] == []


def secrets_of(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where a pipeline may hold a secret."""
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if kind is Secret:
                yield (*path, name)
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from secrets_of(kind, (*path, name))


FIELDS = sorted(set(secrets_of(Pipeline)))


def test_these_are_the_secrets_of_a_pipeline() -> None:
    """Whoever adds one plants it in the tests, too."""
    assert [".".join(field) for field in FIELDS] == [
        "dashboard.token",
        "kafka.sasl.password",
        "kafka.sasl.username",
        "kafka.tls.key_password",
        "schema_registry.password",
        "schema_registry.username",
        "store.access_key",
        "store.secret_key",
    ]


def planted(folder: Path, field: tuple[str, ...], secret: dict[str, str]) -> Pipeline:
    """A pipeline that has every secret, one of them the planted."""
    other = {"value": "another"}
    (folder / "cert.pem").write_text("no certificate")
    document: dict[str, Any] = {
        "dashboard": {"token": other},
        "kafka": {
            "bootstrap": "127.0.0.1:1",
            "security": "sasl_ssl",
            "sasl": {"username": other, "password": other},
            "tls": {"certificate": str(folder / "cert.pem"), "key": str(folder / "cert.pem"), "key_password": other},
        },
        "schema_registry": {"url": "http://127.0.0.1:1", "username": other, "password": other},
        "store": {
            "url": "s3://bucket/m",
            "endpoint": "http://127.0.0.1:1",
            "access_key": other,
            "secret_key": other,
        },
    }
    place = document = copy.deepcopy(document)
    for key in field[:-1]:
        place = place[key]
    place[field[-1]] = secret
    events = {"impressions": {"format": "avro"}}
    found = pipeline("planted").model_dump(mode="json", exclude_unset=True)
    for part, settings in (*document.items(), ("events", events)):
        found[part] = {**found.get(part, {}), **settings} if part != "events" else found[part]
    found["events"]["impressions"]["format"] = "avro"
    return Pipeline.model_validate(found)


@pytest.mark.parametrize("field", FIELDS, ids=".".join)
@pytest.mark.parametrize("source", ["value", "file", "env"])
def test_a_secret_planted_in_any_field_shows_nowhere(
    field: tuple[str, ...], source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In what commands say of a pipeline, well or ill, and in how it shows itself; the loop has a test of its own."""
    (tmp_path / "secret").write_text(PLANTED)
    monkeypatch.setenv("PLANTED_SECRET", PLANTED)
    secret = {"value": {"value": PLANTED}, "file": {"file": str(tmp_path / "secret")}, "env": {"env": "PLANTED_SECRET"}}
    spec = planted(tmp_path, field, secret[source])
    assert PLANTED not in repr(spec) and PLANTED not in str(spec)
    path = tmp_path / "pipeline.yaml"
    path.write_text(dump_pipeline(spec))
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(path.read_text() + "unknown_key: 1\n")
    for words in (
        ["check", str(path)],
        ["check", str(wrong)],
        ["check", str(path), "-o", "json"],
        ["plan", str(path), str(path)],
        ["doctor", "--acls", str(path)],
        ["join", "--print-topics", str(path)],
        ["versions", str(path)],
        ["alerts", str(path)],
    ):
        result = CliRunner().invoke(app, words)
        assert PLANTED not in result.output + str(result.exception), words
