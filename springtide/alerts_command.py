"""What `springtide alerts` prints."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import typer

from dashboard.monitoring.alerts import Limits
from dashboard.monitoring.grafana import grafana as grafana_dashboard
from dashboard.monitoring.rules import rules
from infra.pipeline_file import load_pipeline


def print_alerts(path: Path, *, puts_per_hour: float, bytes_per_hour: float, grafana: bool) -> None:
    """Prints the rules whose limits are the pipeline's, or the Grafana dashboard, which has none."""
    if grafana:
        typer.echo(grafana_dashboard(), nl=False)
        return
    pipeline = load_pipeline(path)
    limits = Limits(
        behind_s=pipeline.slo.behind.ms / 1000,
        heartbeat_s=pipeline.learner.heartbeat_interval.ms / 1000,
        puts_per_hour=puts_per_hour,
        bytes_per_hour=bytes_per_hour,
    )
    typer.echo(rules(limits), nl=False)
