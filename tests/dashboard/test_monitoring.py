"""Rules, Grafana and documents name only what the metrics table has, and lead to pages and commands that exist."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
from typer.main import get_command

from dashboard.monitoring.alerts import BEHIND, OVER, Alert, Limits, alerts, recordings
from dashboard.monitoring.generated import ROOT, generated
from dashboard.monitoring.grafana import panels
from infra.metrics_table import TABLE
from springtide.cli import app

RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
ROWS = {row.name: row for row in TABLE}
ALERTS = alerts(Limits())
EXPRESSIONS = {
    **{alert.name: alert.expression for alert in ALERTS},
    **recordings(Limits()),
    **{f"{panel.title}/{legend}": line for panel in panels() for legend, line in panel.lines.items()},
}
# The list; each is somebody's night.
WANTED = {
    "FreshnessBurnsFast",
    "NoVersion",
    "ReplicaBehind",
    "WatermarkStalled",
    "NegativesWithoutPositives",
    "CalibrationOff",
    "VersionsRefused",
    "DeadLetters",
    "StoreCost",
    "DiskFull",
}
# What Prometheus adds to each series of a target.
OF_A_TARGET = {"model", "instance"}


def metrics_in(text: str) -> set[str]:
    """The metrics that a text names, without what Prometheus appends to a histogram."""
    found = set(re.findall(r"\bspringtide_[a-z0-9_]*[a-z0-9]\b(?!\.)", text))
    return {name if name in ROWS else re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


@pytest.mark.parametrize(("path", "text"), generated().items())
def test_what_is_made_from_code_is_as_the_code_makes_it(path: str, text: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == text, "run `make reference`"


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_names_only_metrics_and_labels_of_the_table(name: str) -> None:
    expression = EXPRESSIONS[name]
    named = metrics_in(expression)
    assert named <= ROWS.keys()
    assert named or BEHIND in expression or OVER in expression
    matched = set(re.findall(r"([a-z_]+)=~?\"", expression))
    known = {label for metric in named for label in ROWS[metric].labels} | {"le"}
    assert matched <= known | OF_A_TARGET
    grouped = {label for group in re.findall(r"by \(([a-z_, ]+)\)", expression) for label in group.split(", ")}
    assert grouped <= known | OF_A_TARGET | ({"replica"} if BEHIND in expression else set())


def test_every_metric_that_documents_name_exists() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for path in documents:
        assert metrics_in(path.read_text(encoding="utf-8")) <= ROWS.keys(), path.name


def test_every_exported_metric_is_documented() -> None:
    document = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert {name for name in ROWS if f"| `{name}` |" in document} == ROWS.keys()


def test_somebody_is_called_for_all_that_was_asked_for() -> None:
    names = [alert.name for alert in ALERTS]
    assert len(names) == len(set(names)) and set(names) >= WANTED


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_leads_to_a_runbook_that_names_it(alert: Alert) -> None:
    page = ROOT / "docs" / "runbooks" / f"{alert.runbook}.md"
    assert f"`Springtide{alert.name}`" in page.read_text(encoding="utf-8")
    labels = set(re.findall(r"\$labels\.([a-z_]+)", alert.summary))
    kept = {label for group in re.findall(r"by \(([a-z_, ]+)\)", alert.expression) for label in group.split(", ")}
    of_metrics = {label for metric in metrics_in(alert.expression) for label in ROWS[metric].labels}
    assert labels <= kept | of_metrics | OF_A_TARGET | ({"replica"} if BEHIND in alert.expression else set())


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_has_one_page_and_commands_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Symptom", "Cause", "Command"]
    assert len(text.splitlines()) <= 60
    assert page.stem in {alert.runbook for alert in ALERTS}
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for line in re.findall(r"springtide ([a-z-]+(?: [a-z]+)?[^\n`]*)", text):
        name, *rest = line.split()
        assert name in commands, f"{page.name}: springtide {name}"
        known = commands[name]
        if rest and rest[0] in getattr(known, "commands", {}):
            known = known.commands[rest[0]]
        options = {option for parameter in known.params for option in parameter.opts}
        assert set(re.findall(r"(--[a-z-]+)", line.split("#")[0])) <= options, line
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (page.parent / link).is_file(), link


def test_a_pipelines_own_objective_is_in_its_rules() -> None:
    ours = Limits(behind_s=42, heartbeat_s=7)
    assert f"max by (model) ({BEHIND}) > bool 42" in recordings(ours).values()
    expressions = {alert.name: alert.expression for alert in alerts(ours)}
    assert expressions["NoVersion"].endswith("> 21") and expressions["ReplicaBehind"].endswith("> 42")


def test_grafana_gets_one_chart_a_panel() -> None:
    dashboard = orjson.loads(generated()["dashboard/monitoring/springtide.grafana.json"])
    assert [panel["title"] for panel in dashboard["panels"]] == [panel.title for panel in panels()]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(places) == len(set(places))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
