"""Counts and times what the table names, and nothing else; knows no room's meaning.

``metrics = Metrics("learner")``; ``metrics.inc("springtide_learner_samples_total", 7, kind="click")``,
``metrics.set(name, value, **labels)`` for gauges, ``metrics.observe(name, value, **labels)`` for histograms,
``metrics.value(name, **labels)``. The table is :data:`infra.metrics_table.TABLE`.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
from typing import Any, Literal

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

from infra.clock import Clock, SystemClock
from infra.errors import Bug
from infra.metrics_table import TABLE, Metric, Room

# A second series per counter, with the time of its creation, is of no use to anyone here.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one process; safe for many threads.

    Args:
        room: Whose rows of the table this process exports, beside those of every room.
        clock: Tells when the process started.
    """

    def __init__(
        self, room: Literal["join", "learner", "replica", "dashboard", "canary"], *, clock: Clock | None = None
    ) -> None:
        self.room: Room = room
        self.registry = CollectorRegistry()
        self._rows = {row.name: row for row in TABLE if row.room in {room, "every"}}
        self._metrics = {name: _made(row, self.registry) for name, row in self._rows.items()}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.set("springtide_build_info", 1, version=_version(), room=room)
        self.set("springtide_started_timestamp_seconds", (clock or SystemClock()).now_ms() / 1000)
        # Asked at each scrape: a disk fills while a process does nothing.
        self._child("springtide_disk_free_bytes", "gauge", {}).set_function(lambda: shutil.disk_usage(".").free)
        self._child("springtide_disk_size_bytes", "gauge", {}).set_function(lambda: shutil.disk_usage(".").total)

    def inc(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Adds ``amount`` (not negative) to a counter."""
        self._child(name, "counter", labels).inc(amount)

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Sets a gauge."""
        self._child(name, "gauge", labels).set(value)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Adds one value to a histogram."""
        self._child(name, "histogram", labels).observe(value)

    def forget(self, name: str, /, **labels: str) -> None:
        """Exports one series no longer, as when what it is about has gone for good."""
        self._row(name, labels)
        with contextlib.suppress(KeyError):
            self._metrics[name].remove(*(labels[label] for label in self._rows[name].labels))

    def value(self, name: str, /, **labels: str) -> float:
        """A counter's or gauge's value, 0 before the first use; a histogram's count."""
        row = self._row(name, labels)
        sample = f"{name}_count" if row.kind == "histogram" else name
        return float(self.registry.get_sample_value(sample, labels) or 0.0)

    def _child(self, name: str, kind: str, labels: dict[str, str]) -> Any:
        row = self._row(name, labels)
        if row.kind != kind:
            raise Bug(f"metric {name} is used as a {kind}", wanted=f"a {row.kind}", where="infra/metrics_table.py")
        metric = self._metrics[name]
        return metric.labels(**labels) if labels else metric

    def _row(self, name: str, labels: dict[str, str]) -> Metric:
        row = self._rows.get(name)
        if row is None:
            raise Bug(f"metric {name} is no row of room {self.room}", cure="add it", where="infra/metrics_table.py")
        if labels.keys() != set(row.labels):
            got, wanted = ", ".join(sorted(labels)) or "none", ", ".join(row.labels) or "none"
            raise Bug(f"metric {name} has labels {got}", wanted=wanted, where="infra/metrics_table.py")
        return row


def _made(row: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if row.kind == "counter":
        return Counter(row.name, row.help, row.labels, registry=registry)
    if row.kind == "gauge":
        return Gauge(row.name, row.help, row.labels, registry=registry)
    return Histogram(row.name, row.help, row.labels, registry=registry, buckets=row.buckets)


def _version() -> str:
    try:
        return importlib.metadata.version("springtide")
    except importlib.metadata.PackageNotFoundError:
        return "source"
