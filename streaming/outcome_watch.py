"""Counts what became of events while the join runs, and how late feedback comes, as metrics; must not know the job."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from infra import spec
from infra.clock import Clock
from infra.kafka import PartitionReader, PositionOutOfRange
from infra.metrics import Metrics
from streaming import sample, topics
from streaming.delays import ORPHAN, delay_ms

# One look takes a tenth of a second at most.
LOOK_RECORDS: Final = 5_000
# Reading on from where it is would show old delays.
FAR_BEHIND: Final = 20 * LOOK_RECORDS


class OutcomeWatch:
    """Follows the topics that the join writes, from where they end when it is made.

    Late rows and dead letters are counted one by one. Of samples only some are looked at where more come than can be
    read along with: shares stay what they are.

    Args:
        pipeline: The topics and windows.
        clock: For bounded waits.
        metrics: Shows what was counted.
    """

    def __init__(self, pipeline: spec.Pipeline, *, clock: Clock, metrics: Metrics) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._metrics = metrics
        self._readers: dict[str, PartitionReader] = {}
        self._windows_ms = {kind.name: pipeline.join.windows(kind)[0].ms for kind in pipeline.events.feedback}
        self._seen = {name: [0, 0] for name in self._windows_ms}  # feedback inside the window, and all

    def look(self) -> None:
        """Takes what was written since the last look.

        Raises:
            Unavailable: No broker answers.
        """
        name = self._pipeline.name
        for row in self._rows(topics.late(name)):
            self._late(row)
        for row in self._rows(topics.dead(name)):
            self._metrics.inc("springtide_join_dead_letters_total", topic=row["topic"], reason=row["reason"])
        if self._pipeline.join.labels != "aligned":  # there a sample does not say when its feedback came
            for row in self._rows(topics.samples(name), only=b'"kind":"c', skip=True):
                self._sample(row)

    def close(self) -> None:
        """Ends the connections."""
        for reader in self._readers.values():
            reader.close()

    def _late(self, row: Mapping[str, Any]) -> None:
        feedback = str(row["feedback"] or "")
        self._metrics.inc("springtide_join_late_total", feedback=feedback, reason=row["reason"])
        if row["reason"] == ORPHAN and feedback in self._seen:
            # Most orphans are feedback that came after its impression's state had gone.
            self._count(feedback, inside=False)

    def _sample(self, row: Mapping[str, Any]) -> None:
        kind = str(row["sample_id"]).rpartition("#")[2].rpartition(".")[0]
        if kind not in self._seen or row["kind"] not in {sample.CLICK, sample.CORRECTED}:
            return
        delay = delay_ms(row)
        self._metrics.observe("springtide_join_feedback_delay_seconds", delay / 1000, feedback=kind)
        self._count(kind, inside=delay <= self._windows_ms[kind])

    def _count(self, kind: str, *, inside: bool) -> None:
        seen = self._seen[kind]
        seen[0] += inside
        seen[1] += 1
        self._metrics.set("springtide_join_window_coverage_ratio", seen[0] / seen[1], feedback=kind)

    def _rows(self, topic: str, *, only: bytes = b"", skip: bool = False) -> list[Mapping[str, Any]]:
        reader = self._readers.get(topic)
        if reader is None:
            group = f"springtide.{self._pipeline.name}.join"
            reader = PartitionReader(self._pipeline.kafka, topic, group=group, clock=self._clock)
            reader.assign(reader.positions_at("end"))
            self._readers[topic] = reader
        if skip and reader.behind() > FAR_BEHIND:
            reader.assign(reader.positions_at("end"))
        try:
            batch = reader.poll_batch(LOOK_RECORDS, 0.0)
        except PositionOutOfRange:  # the topic was emptied, or kept for less than this was away
            reader.assign(reader.positions_at("end"))
            return []
        return [orjson.loads(value) for value in batch.values if value is not None and only in value]
