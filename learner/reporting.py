"""Turns what the loop does into metrics and the status page; must not decide anything."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from checkpointing.manifest import Manifest
from checkpointing.quality import Quality
from infra.clock import Clock
from infra.metrics import Metrics
from learner.trainer import Learned

# How many event-time buckets are kept for the gauges; older ones are in the manifests.
_BUCKETS_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class TableFigures:
    """One table at a capture.

    Args:
        name: The stored table's.
        rows: How many it holds.
        memory_bytes: Behind rows, index and admission.
        gone: Rows evicted or forgotten since the capture before.
    """

    name: str
    rows: int
    memory_bytes: int
    gone: int


class Report:
    """What this learner has done so far. Written by the loop, read by the status server's threads.

    Args:
        model: The model's name.
        metrics: The process's metrics.
        clock: Wall clock and stopwatch.
        bucket_ms: Width of a quality bucket.
        window_ms: How long after its end a bucket still gets verdicts.
        labels: The label columns.
    """

    def __init__(
        self, model: str, metrics: Metrics, clock: Clock, bucket_ms: int, window_ms: int, labels: Sequence[str]
    ) -> None:
        self._model = model
        self._metrics = metrics
        self._clock = clock
        self._bucket_ms = bucket_ms
        self._window_ms = window_ms
        self._labels = tuple(labels)
        # By label and slice, then by the start of a bucket.
        self._quality: dict[tuple[str, str], dict[int, Quality]] = {}
        self._newest_event_ms = 0
        self.state = "starting"
        self.reason: str | None = "starting"
        self.version = 0
        self.epoch = 0
        self.behind_records = 0
        self.samples_total = 0
        self.duplicates_total = 0
        self.rejected_total = 0
        self.memory_bytes = 0
        self._tables: dict[str, dict[str, int]] = {}
        self.held: str | None = None

    def hold(self, why: str | None) -> None:
        """Notes by whose decision the learner does not poll; None where it does."""
        self.held = why
        self._metrics.set("springtide_learner_held", why is not None)

    def reverted(self) -> None:
        """Counts that the learner went back to an earlier version."""
        self._metrics.inc("springtide_learner_reverts_total")

    def enter(self, state: str, reason: str | None = None) -> None:
        """Says what the process is doing; ``reason`` is why it is not ready, None when it is."""
        self.state, self.reason = state, reason
        self._metrics.set("springtide_ready", reason is None)

    def status(self) -> dict[str, Any]:
        """The contract's ``/status`` of a learner."""
        return {
            "role": "learner",
            "model": self._model,
            "version": self.version,
            "epoch": self.epoch,
            "state": self.state,
            "held": self.held,
            "behind_records": self.behind_records,
            "samples_total": self.samples_total,
            "duplicates_total": self.duplicates_total,
            "rejected_total": self.rejected_total,
            "memory_bytes": self.memory_bytes,
            "tables": dict(self._tables),
        }

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Times a part of a step."""
        began = self._clock.monotonic()
        yield
        self._metrics.observe("springtide_learner_step_seconds", self._clock.monotonic() - began, part=part)

    def learned(self, learned: Learned) -> None:
        """Counts one batch."""
        fresh = learned.fresh
        self.samples_total += len(fresh)
        self.duplicates_total += learned.duplicates
        self.rejected_total += len(learned.rejected)
        metrics, now = self._metrics, self._clock.now_ms()
        # Counted by Arrow: a Python string for every sample was a fifteenth of the learner's time.
        for found in pc.value_counts(fresh.kinds).to_pylist():
            kind, count = found["values"], found["counts"]
            # Anything else would let a message make up metric series.
            known = kind if kind in ("click", "timeout", "correction") else "other"
            metrics.inc("springtide_learner_samples_total", count, kind=known)
        if learned.duplicates:
            metrics.inc("springtide_learner_duplicates_total", learned.duplicates)
        if learned.rejected:
            metrics.inc("springtide_learner_rejected_total", len(learned.rejected), reason="unreadable")
        metrics.observe("springtide_learner_batch_samples", len(fresh))
        metrics.set("springtide_learner_trained_timestamp_seconds", now / 1000)
        if len(fresh):
            self._newest_event_ms = max(self._newest_event_ms, int(fresh.impression_ms.max()))
            # One value a batch, that of its oldest sample: a value for each would cost more than the step.
            waited = int(np.max(learned.sampled_ms - fresh.received_ms))
            metrics.observe("springtide_event_to_sample_seconds", max(0, waited) / 1000)
            metrics.observe("springtide_sample_to_train_seconds", max(0, now - int(learned.sampled_ms.min())) / 1000)

    def captured(
        self, seconds: float, increments: dict[str, Any], tables: Sequence[TableFigures], memory_bytes: int
    ) -> None:
        """Notes the pause of a capture, the tables, and the quality of the newest closed bucket."""
        metrics = self._metrics
        metrics.observe("springtide_learner_pause_seconds", seconds)
        self.memory_bytes = memory_bytes
        for table in tables:
            self._holds(table)
        for start, bucket in increments.items():
            for of, sums in self._parts(bucket):
                buckets = self._quality.setdefault(of, {})
                buckets.setdefault(int(start), Quality()).add(Quality.from_json(sums))
        for (label, part), buckets in self._quality.items():
            for oldest in sorted(buckets)[:-_BUCKETS_KEPT]:
                del buckets[oldest]
            closed = [s for s in buckets if s + self._bucket_ms + self._window_ms <= self._newest_event_ms]
            if closed:
                quality = buckets[max(closed)]
                for name in ("log_loss", "normalized_entropy", "auc", "calibration"):
                    value = getattr(quality, name)
                    if value is not None:
                        metrics.set(f"springtide_learner_{name}", value, label=label, slice=part)

    def _holds(self, table: TableFigures) -> None:
        before = self._tables.get(table.name)
        # Rows that were restored are none that were made; a learner that went back may hold fewer than before.
        made = 0 if before is None else max(0, table.rows - before["rows"] + table.gone)
        counted = before or {"admitted": 0, "evicted": 0}
        self._tables[table.name] = {
            "rows": table.rows,
            "memory_bytes": table.memory_bytes,
            "admitted": counted["admitted"] + made,
            "evicted": counted["evicted"] + table.gone,
        }
        metrics = self._metrics
        metrics.set("springtide_table_rows", table.rows, table=table.name)
        metrics.set("springtide_table_memory_bytes", table.memory_bytes, table=table.name)
        metrics.inc("springtide_table_admitted_total", made, table=table.name)
        metrics.inc("springtide_table_evicted_total", table.gone, table=table.name)

    def _parts(self, bucket: dict[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
        """The sums in one bucket of a version's metrics, each with its label and slice."""
        first, *_ = self._labels
        yield (first, ""), bucket
        for label, sums in bucket.get("labels", {}).items():
            yield (label, ""), sums
        for column, values in bucket.get("slices", {}).items():
            for value, sums in values.items():
                yield (first, f"{column}={value}"), sums

    def committed(self, manifest: Manifest, seconds: float) -> None:
        """Counts one version."""
        self.version, self.epoch = manifest.version, manifest.epoch
        metrics = self._metrics
        metrics.inc("springtide_learner_commits_total", kind=manifest.kind)
        metrics.observe("springtide_learner_commit_seconds", seconds)
        metrics.observe("springtide_learner_commit_bytes", sum(file.bytes for file in manifest.files))
        metrics.set("springtide_learner_committed_timestamp_seconds", manifest.created_ts / 1000)
        metrics.set("springtide_learner_version", manifest.version)
        metrics.set("springtide_learner_epoch", manifest.epoch)
        if manifest.newest_known_ts is not None:
            metrics.set("springtide_learner_newest_known_timestamp_seconds", manifest.newest_known_ts / 1000)
        if manifest.kind != "heartbeat":
            for reason in manifest.gate.reasons:
                metrics.inc("springtide_learner_refused_total", reason=reason.split(":", 1)[0].replace(" ", "_"))
        timeline = manifest.timeline
        if timeline.trained_ts is not None and timeline.committed_ts is not None:
            metrics.observe(
                "springtide_train_to_commit_seconds", max(0, timeline.committed_ts - timeline.trained_ts) / 1000
            )

    def unavailable(self, dependency: str) -> None:
        """Counts a call that was not answered."""
        self._metrics.inc("springtide_unavailable_total", dependency=dependency)

    def behind(self, records: int) -> None:
        """Notes how many samples wait on Kafka."""
        self.behind_records = records
        self._metrics.set("springtide_learner_behind_records", records)
