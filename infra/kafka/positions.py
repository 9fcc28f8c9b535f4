"""Finds where reading a topic may begin, by asking the brokers; must not read a message."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from infra.errors import SpringtideError

Start = Literal["beginning", "end"]
Explained = Callable[[KafkaError, str], SpringtideError]


class Watermarks(NamedTuple):
    """The offsets of a partition's first message and of the next one to come."""

    low: int
    high: int


class Finder:
    """Asks over a client that somebody else reads with.

    Every method raises Unavailable where no broker answers within ``timeout`` seconds a request, or where there is no
    such topic.

    Args:
        client: The client.
        explained: Says an error of the client as one of our kinds, given what was being done.
    """

    def __init__(self, client: Consumer, explained: Explained) -> None:
        self._client = client
        self._explained = explained

    def partitions(self, topic: str, timeout: float) -> list[int]:
        """The topic's partitions."""
        try:
            described = self._client.list_topics(topic, timeout=timeout).topics[topic]
        except KafkaException as error:
            raise self._explained(error.args[0], f"describe topic `{topic}`") from None
        if described.error is not None:
            raise self._explained(described.error, f"read topic `{topic}`")
        return sorted(described.partitions)

    def watermarks(self, topic: str, partition: int, timeout: float) -> Watermarks:
        """What one partition holds now."""
        try:
            return Watermarks(*self._client.get_watermark_offsets(TopicPartition(topic, partition), timeout))
        except KafkaException as error:
            raise self._explained(error.args[0], f"ask for the offsets of {topic}[{partition}]") from None

    def positions_at(self, topic: str, start: Start | int, timeout: float, *, newest: int = 0) -> dict[int, int]:
        """Per partition where to begin.

        Args:
            topic: The topic.
            start: ``beginning``, ``end``, or a time in milliseconds: the first message not older than that,
            timeout: Seconds for each request.
            newest: or earlier, so that so many of the newest messages of each partition are read.
        """
        held = {each: self.watermarks(topic, each, timeout) for each in self.partitions(topic, timeout)}
        if start == "beginning":
            return {partition: marks.low for partition, marks in held.items()}
        if start == "end":
            return {partition: marks.high for partition, marks in held.items()}
        asked = [TopicPartition(topic, partition, int(start)) for partition in held]
        try:
            answers = self._client.offsets_for_times(asked, timeout=timeout)
        except KafkaException as error:
            raise self._explained(error.args[0], f"find a time in topic `{topic}`") from None
        found = {
            answer.partition: held[answer.partition].high if answer.offset == OFFSET_END else answer.offset
            for answer in answers
        }
        if newest:
            found = {each: min(at, max(held[each].low, held[each].high - newest)) for each, at in found.items()}
        return found
