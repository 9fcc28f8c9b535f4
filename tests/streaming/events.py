"""Sends events of a test's own event time and collects what the join makes of them; must not know a test's cases."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from infra.clock import Clock, SystemClock, iso
from infra.kafka import KafkaAdmin, PartitionReader, Producer, TopicSettings, Watermarks
from infra.spec import Pipeline, Topic
from streaming import topics
from streaming.heartbeat import body
from tests.streaming.encodings import Encoder, json_encoder

# Keys of the events that only move event time begin with this.
MARK = "mark-"
WAIT_S = 60.0


class Stream:
    """Both of a pipeline's topics, its heartbeats and its results.

    Args:
        pipeline: Its topics are created.
        base_ms: What event time 0 s of the test is, ms since 1970.
        marks: Kind of feedback -> the fields by which an event is one of it.
        encoders: How the impressions are written, and how the feedback.
        partitions: Of each of the user's topics.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        base_ms: int,
        marks: Mapping[str, Mapping[str, Any]] | None = None,
        encoders: tuple[Encoder, Encoder] = (json_encoder, json_encoder),
        *,
        partitions: int = 1,
    ) -> None:
        self.pipeline = pipeline
        self.encoders = encoders
        self._marks = marks or {}
        # The one partition that events go to; None spreads them.
        self.partition: int | None = None
        # A multiple of every step in which event time moves.
        self.base_ms = base_ms // 1000 * 1000
        self._clock: Clock = SystemClock()
        admin = KafkaAdmin(pipeline.kafka)
        admin.ensure_topics([TopicSettings(name, partitions=partitions) for name in topics.user_topics(pipeline)])
        admin.ensure_topics(topics.own_topics(pipeline))
        self.producer = Producer(pipeline.kafka)
        name = pipeline.name
        self._readers = {
            kind: PartitionReader(pipeline.kafka, topic, group="tests")
            for kind, topic in (
                ("samples", topics.samples(name)),
                ("late", topics.late(name)),
                ("dead", topics.dead(name)),
            )
        }
        for reader in self._readers.values():
            reader.assign({0: 0})
        self.samples: list[dict[str, Any]] = []
        self.sample_keys: list[bytes | None] = []
        self.sampled_ms: list[int] = []
        self.late: list[dict[str, Any]] = []
        self.dead: list[dict[str, Any]] = []

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()

    def time(self, seconds: float) -> str:
        """Event time ``seconds`` as it stands on the wire."""
        return iso(self.base_ms + round(seconds * 1000))

    def _moment(self, topic: Topic, seconds: float) -> str | int:
        """Event time ``seconds`` as events of ``topic`` bear it."""
        return self.time(seconds) if topic.time_unit == "iso8601" else self.base_ms + round(seconds * 1000)

    def seconds(self, text: str | None) -> float | None:
        """The event time of a text from the wire."""
        if text is None:
            return None
        from datetime import datetime

        assert len(text) == len("2026-01-01T00:00:00.000Z"), text
        return round(datetime.fromisoformat(text).timestamp() - self.base_ms / 1000, 3)

    def impression(self, key: str, seconds: float, **fields: Any) -> None:
        self.raw(0, self.encode(0, key, seconds, **fields))

    def encode(self, topic: int, key: str, seconds: float, **fields: Any) -> bytes:
        """An impression (0) or a click (1) as it is sent."""
        events = self.pipeline.events.impressions if topic == 0 else self.pipeline.events.feedback[0]
        return self.encoders[topic]({"id": key, "ts": self._moment(events, seconds), **fields})

    def marks(self, topic: int) -> Mapping[int, Watermarks]:
        """Where the partitions of the impressions (0) or the clicks (1) begin and end."""
        with PartitionReader(self.pipeline.kafka, topics.user_topics(self.pipeline)[topic], group="tests") as reader:
            return reader.watermarks()

    def click(self, key: str, seconds: float, kind: str | None = None, **fields: Any) -> None:
        """Feedback of the first kind, or of another."""
        names = [each.name for each in self.pipeline.events.feedback]
        at = 0 if kind is None else names.index(kind)
        events = self.pipeline.events.feedback[at]
        body = {"id": key, "ts": self._moment(events, seconds), **self._marks.get(names[at], {}), **fields}
        self.producer.send(events.topic, self.encoders[1](body), partition=self.partition)

    def raw(self, topic: int, value: bytes | None) -> None:
        """Bytes as they are to the impressions (0) or the clicks (1)."""
        self.producer.send(topics.user_topics(self.pipeline)[topic], value, partition=self.partition)

    def heartbeat(self, seconds: float) -> None:
        for topic in topics.heartbeats(self.pipeline):
            self.producer.send(topic, body(self.base_ms + round(seconds * 1000)))

    def advance(self, watermark: float) -> None:
        """Moves event time to ``watermark`` and returns when both joins have got there."""
        moment = watermark + self.pipeline.join.out_of_orderness.seconds
        name = f"{MARK}{watermark}"
        kinds = self.pipeline.events.feedback
        self.await_read(name, moment)
        # Feedback without an impression leaves when event time has passed it by the skew and the window.
        for kind in kinds:
            held = self.pipeline.join.skew.seconds + self.pipeline.join.windows(kind)[0].seconds
            self.click(name, watermark - held - 0.003, kind.name)
        self.heartbeat(moment)
        self.producer.flush()
        self.until(lambda: self._told(name) >= {kind.name for kind in kinds}, f"event time {watermark}")

    def await_read(self, name: str, moment: float) -> None:
        """Returns when everything sent has been read; an impression and clicks at ``moment`` tell."""
        # A second click is told at once, in every label mode.
        read = f"{name}-read"
        kinds = [each.name for each in self.pipeline.events.feedback]
        self.impression(read, moment)
        for kind in kinds:
            self.click(read, moment, kind)
            self.click(read, moment + 0.001, kind)
        self.producer.flush()
        self.until(lambda: self._told(read) >= set(kinds), f"what was sent before {name}")

    def _told(self, key: str) -> set[str]:
        return {row["feedback"] for row in self.late if row["key"] == key}

    def until(self, condition: Callable[[], bool], what: str, seconds: float = WAIT_S) -> None:
        """Collects results until ``condition`` holds."""
        deadline = self._clock.monotonic() + seconds
        while not condition():
            assert self._clock.monotonic() < deadline, f"{what} did not come; got {self.summary()}"
            self.collect()

    def collect(self) -> None:
        for kind, reader in self._readers.items():
            position = reader.positions()[0]
            batch = reader.poll_batch(10_000, 0.02)
            # What comes twice was written twice.
            assert not len(batch.offsets) or batch.offsets.min() >= position, (kind, position, batch.offsets.min())
            rows = [orjson.loads(value) for value in batch.values if value is not None]
            getattr(self, kind).extend(rows)
            if kind == "samples":
                self.sample_keys.extend(batch.keys)
                self.sampled_ms.extend(batch.timestamps_ms.tolist())

    def summary(self) -> str:
        return f"{len(self.samples)} samples, {len(self.late)} late, {len(self.dead)} dead"
