"""Reads what the page needs to know from Kafka, to the end at each call; must not judge it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from dashboard.dead import KEPT
from dashboard.measurement import Feedback
from infra.clock import Clock
from infra.errors import SpringtideError
from infra.kafka import Record, TopicTails
from infra.spec import Pipeline, Topic
from streaming import sample, topics

# The page begins to read so far back, so that what is pending at its start is seen.
LOOK_BACK_MS: Final = 60_000
# Most messages in one call, so that a burst cannot starve the tick.
MOST: Final = 100_000
METADATA_TIMEOUT_S: Final = 1.0
# A tick is a second long: brokers may gather for a fifth of it, and are asked ten times less often.
PATIENCE_MS: Final = 200

_MS_PER_UNIT: Final = {"s": 1000.0, "ms": 1.0, "us": 0.001}
_EPOCH: Final = datetime.datetime.fromtimestamp(0, tz=datetime.UTC)
_MILLISECOND: Final = datetime.timedelta(milliseconds=1)
# The join writes no spaces, and a user's text cannot hold unescaped quotes: what follows these bytes first is the kind.
_MARK: Final = b'"kind":"'
_KINDS: Final = {kind.encode(): kind for kind in (sample.TIMEOUT, sample.CLICK, sample.CORRECTED, sample.IMPRESSION)}
_POSITIVE: Final = frozenset({sample.CLICK, sample.CORRECTED})


class Positive(NamedTuple):
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
    """

    feedback: list[Feedback] = field(default_factory=list)
    positives: list[Positive] = field(default_factory=list)
    late: list[tuple[str, int]] = field(default_factory=list)
    dead: list[tuple[int, int]] = field(default_factory=list)
    counted: Counter[tuple[str, int]] = field(default_factory=Counter)
    troubles: dict[str, str] = field(default_factory=dict)
    letters: list[tuple[dict[str, Any], int]] = field(default_factory=list)


class Feed:
    """The four topics of one model. For one thread.

    Args:
        pipeline: Names the topics.
        clock: Says when now is.
        look_back_ms: How far back reading begins.
    """

    def __init__(self, pipeline: Pipeline, clock: Clock, look_back_ms: int = LOOK_BACK_MS) -> None:
        self._feedback = pipeline.events.feedback[0]
        self._start_ms = start = clock.now_ms() - look_back_ms
        self._clock = clock
        # Samples last: what a sample answers is mostly taken before it.
        self._takers: dict[str, Callable[[Sequence[Record], News], None]] = {
            self._feedback.topic: self._take_feedback,
            topics.late_of(pipeline): self._take_late,
            topics.dead_of(pipeline): self._take_dead,
            topics.samples_of(pipeline): self._take_samples,
        }
        self._newest = {topics.dead_of(pipeline): KEPT}
        self._starts = dict.fromkeys(self._takers, start)
        self._order = deque(self._takers)
        self._tails = TopicTails(
            pipeline.kafka, group=f"springtide.{pipeline.name}.dashboard", clock=clock, patience_ms=PATIENCE_MS
        )

    def poll(self) -> News:
        """Everything that has arrived since the last call; a topic that cannot be read is named, not raised."""
        news = News()
        self._begin(news)
        found, failed = self._tails.read(MOST)
        for topic, take in self._takers.items():
            if topic in found:
                take(found[topic], news)
        for topic, why in failed.items():
            news.troubles[topic] = str(why)
            if not self._tails.reads(topic):
                self._starts[topic] = self._clock.now_ms()  # what it held is gone
        return news

    def close(self) -> None:
        """Ends reading."""
        self._tails.close()

    def _begin(self, news: News) -> None:
        """Begins what is not read; one request that is not answered per call is enough: it may take a second."""
        for topic in [each for each in self._order if not self._tails.reads(each)]:
            try:
                self._tails.begin(
                    topic, self._starts[topic], newest=self._newest.get(topic, 0), timeout=METADATA_TIMEOUT_S
                )
            except SpringtideError as error:
                news.troubles[topic] = str(error)
                self._order.rotate(-1)  # so that one missing topic does not hide the others
                return

    def _take_feedback(self, records: Sequence[Record], news: News) -> None:
        for partition, offset, received, _, value in records:
            key, event_ms = read_event(value, self._feedback)
            news.feedback.append(
                Feedback(key, received if event_ms is None else event_ms, received, (partition, offset))
            )
        _count(news, "feedback", records)

    def _take_late(self, records: Sequence[Record], news: News) -> None:
        for _, _, received, _, value in records:
            document = _object(value)
            reason = str(document.get("reason"))
            news.counted[reason, received // 1000] += 1
            event_ms = event_time_ms(document.get("feedback_ts"), "iso8601")
            if reason == topics.LATE_REASONS[0] and event_ms is not None:
                news.late.append((str(document.get("key")), event_ms))

    def _take_dead(self, records: Sequence[Record], news: News) -> None:
        for _, _, received, _, value in records:
            document = _object(value)
            if received >= self._start_ms:
                news.counted["dead", received // 1000] += 1
            news.letters.append((document, received))
            partition, offset = document.get("partition"), document.get("offset")
            if document.get("topic") == self._feedback.topic and isinstance(partition, int) and isinstance(offset, int):
                news.dead.append((partition, offset))

    def _take_samples(self, records: Sequence[Record], news: News) -> None:
        """Most records of all are negatives, of which nothing but their number is wanted."""
        kinds = [_kind(value) for _, _, _, _, value in records]
        news.counted.update(zip(kinds, [received // 1000 for _, _, received, _, _ in records], strict=True))
        _count(news, "samples", records)
        for kind, (partition, offset, _, key, _) in zip(kinds, records, strict=True):
            if kind in _POSITIVE and key is not None:
                news.positives.append(Positive(key.decode(errors="replace"), partition, offset))


def _count(news: News, name: str, records: Sequence[Record]) -> None:
    seconds = Counter([received // 1000 for _, _, received, _, _ in records])
    news.counted.update({(name, second): number for second, number in seconds.items()})


def read_event(value: bytes | None, topic: Topic) -> tuple[str, int | None]:
    """Join key and event time of a user's event; empty and None where they cannot be read."""
    document = _object(value)
    key = document.get(topic.key)
    if type(key) is not str:
        if type(key) is not int:
            return "", None
        key = str(key)
    return key, event_time_ms(document.get(topic.time), topic.time_unit)


def event_time_ms(value: Any, unit: str) -> int | None:
    """An event time in milliseconds, cut off as the join does it; None where it cannot be read."""
    if unit != "iso8601":
        if type(value) is not int and type(value) is not float:
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
    return (moment - _EPOCH) // _MILLISECOND


def _kind(value: bytes | None) -> str:
    """The kind of a sample."""
    if value is not None and (mark := value.find(_MARK)) >= 0:
        begin = mark + len(_MARK)
        kind = _KINDS.get(value[begin : value.find(b'"', begin)])
        if kind is not None:
            return kind
    return str(_object(value).get("kind"))


def _object(value: bytes | None) -> dict[str, Any]:
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
