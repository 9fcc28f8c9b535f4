"""The table of metrics against its own rules, and the typed access to it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from infra.errors import Bug
from infra.metrics import Metrics
from infra.metrics_table import PREFIX, TABLE, Metric

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("join", "learner", "replica", "dashboard", "canary")
NAMES = {row.name for row in TABLE}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_row_keeps_the_rules(row: Metric) -> None:
    assert re.fullmatch(PREFIX + r"[a-z][a-z0-9_]*[a-z0-9]", row.name)
    assert row.name.endswith("_total") == (row.kind == "counter")
    assert row.unit in {"1", "ratio"} or row.name.removesuffix("_total").endswith(f"_{row.unit}")
    assert row.help.endswith(".") and not row.help[0].islower()
    assert bool(row.buckets) == (row.kind == "histogram")
    assert list(row.buckets) == sorted(set(row.buckets))
    assert all(re.fullmatch("[a-z][a-z_]*", label) for label in row.labels)
    # An age would freeze with its exporter; a timestamp ages.
    assert not re.search(r"_(age|ago|lag|behind)_seconds", row.name)


def test_names_are_unique() -> None:
    assert len(NAMES) == len(TABLE)


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_exports_exactly_its_rows(room: str) -> None:
    metrics = Metrics(room)  # type: ignore[arg-type]
    rows = [row for row in TABLE if row.room in {room, "every"}]
    for row in rows:
        labels = dict.fromkeys(row.labels, "x")
        {"counter": metrics.inc, "gauge": metrics.set, "histogram": metrics.observe}[row.kind](row.name, 1, **labels)
    families = {
        family.name: family
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        if family.name.startswith(PREFIX)
    }
    exported = {name + ("_total" if family.type == "counter" else "") for name, family in families.items()}
    assert exported == {row.name for row in rows}
    assert all(family.documentation.endswith(".") for family in families.values())


def test_values_add_up() -> None:
    metrics = Metrics("learner")
    metrics.inc("springtide_learner_samples_total", 3, kind="click")
    metrics.inc("springtide_learner_samples_total", kind="click")
    metrics.set("springtide_learner_version", 7)
    metrics.observe("springtide_learner_pause_seconds", 0.01)
    metrics.observe("springtide_learner_pause_seconds", 5)
    assert metrics.value("springtide_learner_samples_total", kind="click") == 4
    assert metrics.value("springtide_learner_samples_total", kind="timeout") == 0
    assert metrics.value("springtide_learner_version") == 7
    assert metrics.value("springtide_learner_pause_seconds") == 2


def test_two_of_one_room_do_not_share() -> None:
    one, other = Metrics("replica"), Metrics("replica")
    one.set("springtide_replica_version", 3)
    assert other.value("springtide_replica_version") == 0


def test_unknown_names_labels_and_kinds_are_bugs() -> None:
    metrics = Metrics("learner")
    with pytest.raises(Bug, match="springtide_learner_sample_total is no row of room learner"):
        metrics.inc("springtide_learner_sample_total")
    with pytest.raises(Bug, match="is no row of room learner"):
        metrics.set("springtide_replica_version", 1)
    with pytest.raises(Bug, match="has labels none; wanted kind"):
        metrics.inc("springtide_learner_samples_total")
    with pytest.raises(Bug, match="has labels kind, table; wanted kind"):
        metrics.inc("springtide_learner_samples_total", kind="click", table="users")
    with pytest.raises(Bug, match="is used as a gauge; wanted a counter"):
        metrics.set("springtide_learner_samples_total", 1, kind="click")


def test_every_metric_that_code_names_is_in_the_table() -> None:
    calls: dict[str, set[str]] = {}
    for room in ("infra", "streaming", "checkpointing", "learner", "serving", "dashboard", "springtide"):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in {"inc", "set", "observe", "value"}
                    and node.args
                    and isinstance(node.args[0], ast.Constant)
                    and str(node.args[0].value).startswith(PREFIX)
                ):
                    calls.setdefault(str(node.args[0].value), set()).add(str(file.relative_to(ROOT)))
    assert {name: files for name, files in calls.items() if name not in NAMES} == {}
