"""Tells when feedback has fallen silent though impressions flow; must not know heartbeats or the join."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from infra import spec
from infra.clock import Clock
from infra.kafka import PartitionReader
from infra.logs import logger
from infra.metrics import Metrics

_log = logger()

# None coming where so many were to be expected happens by chance once in 500 million times.
EXPECTED: Final = 20.0
# Fewer say nothing on how often impressions are answered.
ENOUGH: Final = 100
# Counting asks the brokers once per partition.
LOOK_S: Final = 5.0


class Silence:
    """Whether each kind of feedback is broken: none comes where, by the share so far, 20 were to be expected.

    Its negatives are to be held then: they would all be wrong. It ends with the first feedback that comes. That traffic
    as a whole has stopped, or that a kind was always rare, is no silence.

    Args:
        inputs: The kinds.
    """

    def __init__(self, inputs: tuple[str, ...]) -> None:
        self._counts: dict[str, tuple[int, int]] = {}
        self._since: dict[str, int] = {}
        self._inputs = inputs

    def saw(self, impressions: int, feedback: Mapping[str, int]) -> set[str]:
        """Takes how many of each have ever been written; returns the kinds that are silent.

        Args:
            impressions: Ever written.
            feedback: Kind -> ever written.
        """
        found = set()
        for name in self._inputs:
            before, count = self._counts.get(name, (impressions, -1)), feedback[name]
            if count != before[1] or impressions < self._since.get(name, 0):
                # Where it began, its share is what is known of it.
                self._since[name] = impressions
            self._counts[name] = (impressions, count)
            unanswered = impressions - self._since[name]
            answered = self._since[name]
            if count >= ENOUGH and answered > 0 and unanswered * count / answered >= EXPECTED:
                found.add(name)
        return found


class SilenceWatch:
    """Counts the user's topics and says which kinds of feedback are silent; safe for many threads.

    Args:
        pipeline: The topics.
        clock: For bounded waits.
        metrics: Shows what is held.
    """

    def __init__(self, pipeline: spec.Pipeline, *, clock: Clock, metrics: Metrics) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._metrics = metrics
        self._silence = Silence(tuple(kind.name for kind in pipeline.events.feedback))
        self._readers: dict[str, PartitionReader] = {}
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._next = 0.0

    def held(self, kind: str) -> bool:
        """Whether the heartbeat of this input is to be held back now; never that of the impressions."""
        with self._lock:
            return kind in self._held

    def all_held(self) -> list[str]:
        """The kinds of feedback whose negatives are held, by name."""
        with self._lock:
            return sorted(self._held)

    def look(self) -> None:
        """Counts, if the last count is some seconds old.

        Raises:
            Unavailable: No broker answers.
        """
        if self._clock.monotonic() < self._next:
            return
        self._next = self._clock.monotonic() + LOOK_S
        events = self._pipeline.events
        counts = {kind.name: self._written(kind.topic) for kind in events.feedback}
        silent = self._silence.saw(self._written(events.impressions.topic), counts)
        with self._lock:
            before, self._held = self._held, silent
        for name in silent - before:
            _log.warning("feedback_silent", feedback=name, held="its negatives", cure="look at what writes its topic")
        for name in before - silent:
            _log.info("feedback_back", feedback=name)
        for name in counts:
            self._metrics.set("springtide_join_feedback_held", name in silent, input=name)

    def close(self) -> None:
        """Ends the connections."""
        for reader in self._readers.values():
            reader.close()

    def _written(self, topic: str) -> int:
        if topic not in self._readers:
            group = f"springtide.{self._pipeline.name}.join"
            self._readers[topic] = PartitionReader(self._pipeline.kafka, topic, group=group, clock=self._clock)
        return sum(marks.high for marks in self._readers[topic].watermarks().values())
