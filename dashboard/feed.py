"""Reads what the page needs to know from Kafka, to the end at each call; must not judge it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from dashboard.dead import KEPT
from dashboard.measurement import Feedback
from infra.clock import Clock
from infra.errors import SpringtideError
from infra.kafka import Batch, PartitionReader, PositionOutOfRange
from infra.spec import Pipeline, Topic
from streaming import sample, topics

# The page begins to read so far back, so that what is pending at its start is seen.
LOOK_BACK_MS: Final = 60_000
# Most messages of one topic in one call, so that a burst cannot starve the tick.
MOST: Final = 50_000
CHUNK: Final = 10_000
METADATA_TIMEOUT_S: Final = 1.0
# A tick is a second long: brokers may gather for a tenth of it, and are asked five times less often.
PATIENCE_MS: Final = 100

_MS_PER_UNIT: Final = {"s": 1000.0, "ms": 1.0, "us": 0.001}
# Flink writes no spaces, and a user's text cannot hold unescaped quotes: these bytes occur nowhere else.
_MARKS: Final = {kind: f'"kind":"{kind}"'.encode() for kind in (sample.TIMEOUT, sample.CLICK, sample.CORRECTED)}


@dataclass(frozen=True, slots=True)
class Positive:
    """A positive sample: of kind click or correction."""

    key: str
    partition: int
    offset: int


@dataclass
class News:
    """What came since the last call.

    Args:
        feedback: Records of the user's feedback topic.
        positives: Positive samples.
        late: Key and event time of feedback that found no impression.
        dead: Places in the feedback topic of records that could not be read.
        counted: How many of each name in each second of Kafka time, seconds since 1970.
        letters: Dead letters, with their Kafka time.
        troubles: Per topic why it could not be read.
        complete: Every topic was read to its end.
    """

    feedback: list[Feedback] = field(default_factory=list)
    positives: list[Positive] = field(default_factory=list)
    late: list[tuple[str, int]] = field(default_factory=list)
    dead: list[tuple[int, int]] = field(default_factory=list)
    counted: Counter[tuple[str, int]] = field(default_factory=Counter)
    troubles: dict[str, str] = field(default_factory=dict)
    letters: list[tuple[dict[str, Any], int]] = field(default_factory=list)
    complete: bool = True


class Feed:
    """The four topics of one model. For one thread.

    Args:
        pipeline: Names the topics.
        clock: Says when now is.
        look_back_ms: How far back reading begins.
    """

    def __init__(self, pipeline: Pipeline, clock: Clock, look_back_ms: int = LOOK_BACK_MS) -> None:
        self._feedback = pipeline.events.feedback[0]
        self._clock = clock
        self._start_ms = start = clock.now_ms() - look_back_ms
        # Samples last: what a sample answers has then been read before it.
        takers: list[tuple[str, Callable[[Batch, News], None]]] = [
            (self._feedback.topic, self._take_feedback),
            (topics.late_of(pipeline), self._take_late),
            (topics.dead_of(pipeline), self._take_dead),
            (topics.samples_of(pipeline), self._take_samples),
        ]
        kept = {topics.dead_of(pipeline): KEPT}
        self._tails = deque((_Tail(pipeline, topic, start, clock, kept.get(topic, 0)), take) for topic, take in takers)

    def poll(self) -> News:
        """Everything that has arrived since the last call; a topic that cannot be read is named, not raised."""
        news = News()
        searching = True  # one request that is not answered per call is enough: it may take a second
        for tail, take in list(self._tails):
            if not (tail.found or searching):
                news.complete = False
                continue
            try:
                news.complete &= tail.read(lambda batch, take=take: take(batch, news))  # type: ignore[misc]
            except SpringtideError as error:
                news.troubles[tail.topic] = str(error)
                news.complete = False
                searching = False
        if not searching:
            self._tails.rotate(-1)  # so that one missing topic does not hide the others
        return news

    def close(self) -> None:
        """Ends reading."""
        for tail, _ in self._tails:
            tail.close()

    def _take_feedback(self, batch: Batch, news: News) -> None:
        for partition, offset, received, value in _records(batch):
            key, event_ms = read_event(value, self._feedback)
            news.feedback.append(
                Feedback(key, received if event_ms is None else event_ms, received, (partition, offset))
            )
            news.counted["feedback", received // 1000] += 1

    def _take_late(self, batch: Batch, news: News) -> None:
        for _, _, received, value in _records(batch):
            document = _object(value)
            reason = str(document.get("reason"))
            news.counted[reason, received // 1000] += 1
            event_ms = event_time_ms(document.get("feedback_ts"), "iso8601")
            if reason == topics.LATE_REASONS[0] and event_ms is not None:
                news.late.append((str(document.get("key")), event_ms))

    def _take_dead(self, batch: Batch, news: News) -> None:
        for _, _, received, value in _records(batch):
            document = _object(value)
            if received >= self._start_ms:
                news.counted["dead", received // 1000] += 1
            news.letters.append((document, received))
            partition, offset = document.get("partition"), document.get("offset")
            if document.get("topic") == self._feedback.topic and isinstance(partition, int) and isinstance(offset, int):
                news.dead.append((partition, offset))

    def _take_samples(self, batch: Batch, news: News) -> None:
        for (partition, offset, received, value), key in zip(_records(batch), batch.keys, strict=True):
            kind = _kind(value)
            news.counted[kind, received // 1000] += 1
            news.counted["samples", received // 1000] += 1
            if kind in (sample.CLICK, sample.CORRECTED) and key is not None:
                news.positives.append(Positive(key.decode(errors="replace"), partition, offset))


class _Tail:
    """One topic, read to its end; opened again after it was made anew.

    Args:
        pipeline: Names the cluster.
        topic: The topic.
        start_ms: Reading begins at this Kafka time,
        clock: Says when now is.
        newest: but so many of the newest messages of a partition are read, however old they are.
    """

    def __init__(self, pipeline: Pipeline, topic: str, start_ms: int, clock: Clock, newest: int) -> None:
        self.topic = topic
        self._reader = PartitionReader(
            pipeline.kafka, topic, group=f"springtide.{pipeline.name}.dashboard", clock=clock, patience_ms=PATIENCE_MS
        )
        self._start_ms = start_ms
        self._clock = clock
        self._newest = newest
        self.found = False

    def read(self, take: Callable[[Batch], None]) -> bool:
        """Hands over what has arrived; False where there is more than one call may take."""
        if not self.found:
            self._reader.assign(self._begin())
            self.found = True
        taken = 0
        while taken < MOST:
            try:
                batch = self._reader.poll_batch(CHUNK, 0)
            except PositionOutOfRange:
                self.found = False
                self._start_ms = self._clock.now_ms()
                raise
            if not len(batch):
                return True
            take(batch)
            taken += len(batch)
        return False

    def _begin(self) -> dict[int, int]:
        positions = self._reader.positions_at(self._start_ms, METADATA_TIMEOUT_S)
        if not self._newest:
            return positions
        held = self._reader.watermarks(METADATA_TIMEOUT_S)
        return {at: min(found, max(held[at].low, held[at].high - self._newest)) for at, found in positions.items()}

    def close(self) -> None:
        self._reader.close()


def read_event(value: bytes | None, topic: Topic) -> tuple[str, int | None]:
    """Join key and event time of a user's event; empty and None where they cannot be read."""
    document = _object(value)
    key = document.get(topic.key)
    if isinstance(key, bool) or not isinstance(key, str | int):
        return "", None
    return str(key), event_time_ms(document.get(topic.time), topic.time_unit)


def event_time_ms(value: Any, unit: str) -> int | None:
    """An event time in milliseconds, cut off as the join does it; None where it cannot be read."""
    if unit != "iso8601":
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return int(value * _MS_PER_UNIT[unit] + 1e-6)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    since = moment - datetime.datetime.fromtimestamp(0, tz=datetime.UTC)
    return since // datetime.timedelta(milliseconds=1)


def _kind(value: bytes | None) -> str:
    """The kind of a sample."""
    for kind, mark in _MARKS.items():
        if value is not None and mark in value:
            return kind
    return str(_object(value).get("kind"))


def _records(batch: Batch) -> list[tuple[int, int, int, bytes | None]]:
    return list(
        zip(batch.partitions.tolist(), batch.offsets.tolist(), batch.timestamps_ms.tolist(), batch.values, strict=True)
    )


def _object(value: bytes | None) -> dict[str, Any]:
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
