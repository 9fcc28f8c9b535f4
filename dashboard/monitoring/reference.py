"""Writes the reference of every exported metric for people; must not know who exports it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from infra.metrics_table import TABLE, Metric

_ROOMS: Final = {
    "every": "Every process",
    "join": "`springtide join`",
    "learner": "`springtide learn`",
    "replica": "`springtide serve`",
    "dashboard": "`springtide dashboard`",
    "canary": "`springtide probe --every 1m --listen 0.0.0.0:8900`",
}
_HEAD: Final = """# Metrics

Made from `infra/metrics_table.py` by `make reference`. Every process answers `/metrics` on its own port, in Prometheus'
text form. A time is an absolute timestamp, seconds since 1970: a reader subtracts it from now, so that a dead process
ages instead of freezing. The model's name is no label; give it to each target in Prometheus (`labels: {model: …}`), as
the rules in `dashboard/monitoring/springtide.rules.yaml` expect. Alerts lead to [runbooks](runbooks);
`dashboard/monitoring/springtide.grafana.json` is a dashboard to import into Grafana.
"""


def reference() -> str:
    """The document, as Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    for room, title in _ROOMS.items():
        yield f"## {title}"
        yield ""
        yield "| metric | kind | unit | labels | meaning |"
        yield "|---|---|---|---|---|"
        for row in (row for row in TABLE if row.room == room):
            yield _line(row)
        yield ""
    yield from _buckets()


def _line(row: Metric) -> str:
    unit = {"1": "", "info": "", "timestamp_seconds": "s since 1970"}.get(row.unit, row.unit)
    labels = ", ".join(f"`{label}`" for label in row.labels)
    return f"| `{row.name}` | {row.kind} | {unit} | {labels} | {row.help} |"


def _buckets() -> Iterator[str]:
    yield "## Buckets"
    yield ""
    by_bounds: dict[tuple[float, ...], list[str]] = {}
    for row in TABLE:
        if row.buckets:
            by_bounds.setdefault(row.buckets, []).append(f"`{row.name}`")
    for bounds, names in by_bounds.items():
        yield f"- {', '.join(names)}: {', '.join(f'{bound:g}' for bound in bounds)}."
    yield ""
