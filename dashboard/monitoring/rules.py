"""Writes the alerts as a file of Prometheus rules; must not know what they mean."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson

from dashboard.monitoring.alerts import Alert, Limits, alerts, recordings

PREFIX: Final = "Springtide"
RUNBOOKS: Final = "docs/runbooks"


def rules(limits: Limits) -> str:
    """The file, as YAML that Prometheus reads; the chart puts its groups into a PrometheusRule."""
    return "\n".join(_lines(limits)) + "\n"


def _lines(limits: Limits) -> Iterator[str]:
    yield "# Made from dashboard/monitoring/alerts.py; `springtide alerts pipeline.yaml` makes it for a pipeline."
    yield "# SPDX-License-Identifier: Apache-2.0"
    yield "groups:"
    yield "  - name: springtide-recordings"
    yield "    interval: 15s"
    yield "    rules:"
    for name, expression in recordings(limits).items():
        yield f"      - record: {name}"
        yield f"        expr: {_text(expression)}"
    yield "  - name: springtide-alerts"
    yield "    interval: 15s"
    yield "    rules:"
    for alert in alerts(limits):
        yield from _rule(alert)


def _rule(alert: Alert) -> Iterator[str]:
    yield f"      - alert: {PREFIX}{alert.name}"
    yield f"        expr: {_text(alert.expression)}"
    if alert.lasting:
        yield f"        for: {alert.lasting}"
    yield "        labels:"
    yield f"          severity: {alert.severity}"
    yield "        annotations:"
    yield f"          summary: {_text(alert.summary)}"
    yield f"          runbook: {_text(f'{RUNBOOKS}/{alert.runbook}.md')}"


def _text(value: str) -> str:
    """A JSON string is a YAML string."""
    return orjson.dumps(value).decode()
