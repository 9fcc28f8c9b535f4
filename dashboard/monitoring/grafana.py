"""Writes a Grafana dashboard with the page's figures, for those who look at Grafana; must not know what is too much."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from dashboard.monitoring.alerts import BEHIND

UID: Final = "springtide"
# Of Grafana's dashboard model; 39 is that of Grafana 10, which newer ones migrate by themselves.
SCHEMA: Final = 39
WIDTH, HEIGHT = 12, 8
_OF: Final = 'model=~"$model"'
_STAGES: Final = {
    "event → sample": "springtide_event_to_sample_seconds",
    "sample → trained": "springtide_sample_to_train_seconds",
    "trained → committed": "springtide_train_to_commit_seconds",
    "committed → applied": "springtide_commit_to_applied_seconds",
}


@dataclass(frozen=True)
class Panel:
    """One chart: legend → expression, and Grafana's name of the unit."""

    title: str
    unit: str
    lines: dict[str, str]


def _rate(metric: str, by: str, *, matching: str = "", per: int = 1) -> str:
    factor = "" if per == 1 else f" * {per}"
    return f"sum by ({by}) (rate({metric}{{{_OF}{matching}}}[$__rate_interval])){factor}"


def _quantile(share: float, metric: str, *, by: str = "") -> str:
    return f"histogram_quantile({share:g}, sum by (le{by}) (rate({metric}_bucket{{{_OF}}}[$__rate_interval])))"


def panels() -> tuple[Panel, ...]:
    """Every chart, in the order of the page."""
    return (
        Panel("Behind the stream", "s", {"{{model}} {{replica}}": f"{BEHIND}{{{_OF}}}"}),
        Panel(
            "Where the time goes, p50 and p99",
            "s",
            {
                f"{name} p{share * 100:g}": _quantile(share, metric)
                for name, metric in _STAGES.items()
                for share in (0.5, 0.99)
            },
        ),
        Panel(
            "Quality, newest closed bucket",
            "short",
            {
                f"{{{{model}}}} {{{{label}}}} {{{{slice}}}} {name}": f"springtide_learner_{metric}{{{_OF}}}"
                for name, metric in (("AUC", "auc"), ("log loss", "log_loss"), ("calibration", "calibration"))
            },
        ),
        Panel(
            "Records a second, by what became of them",
            "short",
            {"{{kind}}": _rate("springtide_page_records_total", "kind")},
        ),
        Panel(
            "Join: coverage of the window, negatives held",
            "short",
            {
                "{{feedback}} coverage": f"springtide_join_window_coverage_ratio{{{_OF}}}",
                "{{input}} held": f"springtide_join_feedback_held{{{_OF}}}",
            },
        ),
        Panel(
            "Late events and dead letters, per minute",
            "short",
            {
                "{{reason}}": _rate("springtide_join_late_total", "reason", per=60),
                "dead: {{reason}}": _rate("springtide_join_dead_letters_total", "reason", per=60),
            },
        ),
        Panel("Samples learned a second", "short", {"{{kind}}": _rate("springtide_learner_samples_total", "kind")}),
        Panel(
            "Versions a minute, by kind; refused by reason",
            "short",
            {
                "{{kind}}": _rate("springtide_learner_commits_total", "kind", per=60),
                "refused: {{reason}}": _rate("springtide_learner_refused_total", "reason", per=60),
            },
        ),
        Panel("Rows held", "short", {"{{table}}": f"springtide_table_rows{{{_OF}}}"}),
        Panel(
            "Rows admitted and evicted a second",
            "short",
            {
                "{{table}} admitted": _rate("springtide_table_admitted_total", "table"),
                "{{table}} evicted": _rate("springtide_table_evicted_total", "table"),
            },
        ),
        Panel(
            "Memory",
            "bytes",
            {
                "{{table}}": f"springtide_table_memory_bytes{{{_OF}}}",
                "snapshots of {{instance}}": f"springtide_replica_memory_bytes{{{_OF}}}",
            },
        ),
        Panel(
            "Store: bytes and puts an hour",
            "short",
            {
                "bytes": _rate("springtide_store_written_bytes_total", "model", per=3600),
                "puts": _rate("springtide_store_puts_total", "model", per=3600),
            },
        ),
        Panel(
            "Store: what a start reads",
            "bytes",
            {
                "base": f"springtide_store_base_bytes{{{_OF}}}",
                "after it": f"springtide_store_chain_bytes{{{_OF}}}",
            },
        ),
        Panel(
            "Requests a second",
            "short",
            {"{{protocol}} {{code}}": _rate("springtide_replica_requests_total", "protocol, code")},
        ),
        Panel(
            "Request, p99",
            "s",
            {"{{protocol}}": _quantile(0.99, "springtide_replica_request_seconds", by=", protocol")},
        ),
        Panel("Disk free", "bytes", {"{{instance}}": f"springtide_disk_free_bytes{{{_OF}}}"}),
    )


def grafana() -> str:
    """The dashboard as the JSON that Grafana imports."""
    return orjson.dumps(_dashboard(), option=orjson.OPT_INDENT_2).decode() + "\n"


def _dashboard() -> dict[str, Any]:
    return {
        "uid": UID,
        "title": "Springtide",
        "tags": ["springtide"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                {
                    "name": "model",
                    "label": "Model",
                    "type": "query",
                    "datasource": _SOURCE,
                    "query": {"query": "label_values(springtide_build_info, model)", "refId": "model"},
                    "refresh": 2,
                    "includeAll": True,
                    "multi": True,
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels())],
    }


_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": number % 2 * WIDTH, "y": number // 2 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": f"q{place}", "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for place, (legend, expression) in enumerate(panel.lines.items())
        ],
    }
