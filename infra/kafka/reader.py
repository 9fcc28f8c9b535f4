"""Reads one topic from positions that the caller keeps; knows offsets and bytes, not what they mean."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.clock import Clock, SystemClock
from infra.errors import Invalid, SpringtideError
from infra.kafka.batch import Batch
from infra.kafka.connection import METADATA_TIMEOUT_S, Trouble, no_topic, opened
from infra.kafka.consuming import CONSUMING, SILENCE_S, brokers_answer, partitions_known
from infra.kafka.positions import Finder, Start, Watermarks
from infra.logs import logger
from infra.spec import Kafka

_log = logger()

SETTINGS: Final[dict[str, Any]] = {
    **CONSUMING,
    # Freshness first: the broker answers as soon as it has a byte, a full queue is looked at again at once.
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 20,
    "fetch.queue.backoff.ms": 5,
    "statistics.interval.ms": 500,
}
# Whoever does not poll for so long hears the client all the same: what it has to tell waits in memory.
UNHEARD_S: Final = 1.0
MIRROR_FAILURES: Final = 3


class PositionOutOfRange(Invalid):
    """A partition no longer, or not yet, holds the position: messages are lost, or the topic was made again."""

    def __init__(self, topic: str, partition: int, position: int, watermarks: Watermarks | None) -> None:
        held = f"an offset from {watermarks.low} to {watermarks.high}" if watermarks is not None else "a held offset"
        super().__init__(
            f"position {position} is out of range",
            wanted=held,
            cure="restore the topic; `springtide learn --accept-gap` goes on without what is lost",
            where=f"{topic}[{partition}]",
        )
        self.topic = topic
        self.partition = partition
        self.position = position
        self.watermarks = watermarks


class PartitionReader:
    """Reads the partitions of one topic that it was told to; not safe for several threads at once.

    Args:
        kafka: The cluster.
        topic: The topic.
        group: The consumer group under which :meth:`mirror_offsets` shows the positions; nothing is read from it.
        clock: For bounded waits.
    """

    def __init__(
        self,
        kafka: Kafka,
        topic: str,
        *,
        group: str = "springtide",
        clock: Clock | None = None,
    ) -> None:
        self.topic = topic
        self._kafka = kafka
        self._clock = clock or SystemClock()
        self._positions: dict[int, int] = {}
        self._polled = self._clock.monotonic()
        self._held = False
        self._trouble = Trouble(kafka, f"reader of {topic}")
        self._heard = self._clock.monotonic()
        self._present = True
        self._mirror_failures = 0
        self._client: Consumer = opened(
            kafka,
            Consumer,
            {
                **SETTINGS,
                "group.id": group,
                "error_cb": self._trouble,
                "stats_cb": self._on_statistics,
                "on_commit": self._on_mirrored,
            },
        )
        self._finder = Finder(self._client, self._explained)

    def partitions(self, timeout: float = METADATA_TIMEOUT_S) -> list[int]:
        """The topic's partitions.

        Raises:
            Unavailable: No broker answers, or there is no such topic.
        """
        found = self._finder.partitions(self.topic, timeout)
        self._connected()
        return found

    def watermarks(self, timeout: float = METADATA_TIMEOUT_S) -> dict[int, Watermarks]:
        """What each partition holds now, asked of the brokers.

        Raises:
            Unavailable: No broker answers within ``timeout`` seconds each, or there is no such topic.
        """
        return {each: self._finder.watermarks(self.topic, each, timeout) for each in self.partitions(timeout)}

    def positions_at(self, start: Start | int, timeout: float = METADATA_TIMEOUT_S) -> dict[int, int]:
        """Positions for :meth:`assign`, of every partition.

        Args:
            start: ``beginning``, ``end``, or a time in milliseconds: the first message not older than that.
            timeout: Seconds for each request.
        """
        found = self._finder.positions_at(self.topic, start, timeout)
        self._connected()
        return found

    def assign(self, positions: Mapping[int, int]) -> None:
        """Reads from here on, forgetting what was assigned or fetched before; makes no request.

        Args:
            positions: Per partition the offset of the next message wanted; other partitions are not read.
        """
        for partition, at in positions.items():
            if at < 0:
                # Negative offsets mean "end" and the like to the client.
                raise ValueError(f"position {at} of {self.topic}[{partition}]")
        if self._held:
            self._client.resume(self._assigned())
            self._held = False
        self._positions = dict(positions)
        self._failed = None
        self._client.assign([TopicPartition(self.topic, partition, at) for partition, at in positions.items()])
        self._heard = self._clock.monotonic()

    def pause(self, partition: int) -> None:
        """Stops fetching an assigned partition; nothing of it is returned or lost until :meth:`resume`."""
        self._client.pause([TopicPartition(self.topic, partition)])

    def resume(self, partition: int) -> None:
        """Goes on with a paused partition at its position."""
        self._client.resume([TopicPartition(self.topic, partition)])

    def hold(self, timeout: float) -> None:
        """Waits without reading: for whoever has no use for messages now, instead of :meth:`poll_batch`.

        Nothing is lost. Where it lasts, nothing more is fetched either until the next :meth:`poll_batch`.

        Args:
            timeout: Seconds.
        """
        if self._clock.monotonic() - self._polled < UNHEARD_S:
            self._clock.sleep(timeout)
            return
        if not self._held:
            self._client.pause(self._assigned())
            self._held = True
        # What may come of it all the same comes again: the next poll begins at the positions.
        self._client.consume(1, timeout)

    def _assigned(self) -> list[TopicPartition]:
        return [TopicPartition(self.topic, partition) for partition in self._positions]

    def positions(self) -> dict[int, int]:
        """Per assigned partition the offset of the next message that :meth:`poll_batch` would return."""
        return dict(self._positions)

    def poll_batch(self, max_messages: int, timeout: float, linger: float = 0.0) -> Batch:
        """The next messages: waits for the first one, then takes what is already here or comes soon.

        Args:
            max_messages: At most so many; with these the batch is complete at once.
            timeout: Seconds to wait for the first message; an empty batch after that.
            linger: Seconds to wait for the others.

        Raises:
            PositionOutOfRange: A named stop: going on would lose messages.
            Unavailable: No broker has answered for :data:`SILENCE_S`, or the topic is gone; reading resumes by itself.
            Invalid: Login, TLS or rights are refused.
        """
        if self._held:
            self.assign(self._positions)
        self._polled = self._clock.monotonic()
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise self._failure(failed)
        messages = self._client.consume(1, timeout)
        if messages and max_messages > 1:
            messages += self._client.consume(max_messages - 1, linger)
        # The client has moved past all of them and reports an error once: neither a message nor an error may be
        # dropped for standing beside the other.
        good = [message for message in messages if message.error() is None]
        failed = next((message for message in messages if message.error() is not None), None)
        if failed is not None and not good:
            raise self._failure(failed)
        self._failed = failed
        if not good:
            self._raise_silence()
        batch = self._batch(good)
        self._positions |= batch.next_positions()
        return batch

    def behind(self) -> int:
        """How many messages the assigned partitions hold beyond the positions, as the brokers last said; no request."""
        total = 0
        for partition, position in self._positions.items():
            high = self._client.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)[1]
            total += max(0, high - position)
        return total

    def mirror_offsets(self, positions: Mapping[int, int]) -> None:
        """Shows ``positions`` to lag tools as the group's offsets, in the background; a failure is only logged."""
        offsets = [TopicPartition(self.topic, partition, at) for partition, at in positions.items()]
        if not offsets:
            return
        try:
            self._client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._on_mirrored(error.args[0], offsets)

    def close(self) -> None:
        """Ends reading; the reader is of no use afterwards."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _batch(self, messages: list[Message]) -> Batch:
        return Batch(
            topic=self.topic,
            partitions=np.array([message.partition() for message in messages], np.int32),
            offsets=np.array([message.offset() for message in messages], np.int64),
            timestamps_ms=np.array([message.timestamp()[1] for message in messages], np.int64),
            keys=[message.key() for message in messages],
            values=[message.value() for message in messages],
        )

    def _failure(self, message: Message) -> SpringtideError:
        error = message.error()
        if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
            partition = message.partition()
            try:
                held = self._finder.watermarks(self.topic, partition, METADATA_TIMEOUT_S)
            except SpringtideError:
                held = None
            return PositionOutOfRange(self.topic, partition, self._positions.get(partition, -1), held)
        return self._explained(error, f"read topic `{self.topic}`")

    def _raise_silence(self) -> None:
        if not self._positions:
            return
        doing = f"read topic `{self.topic}`"
        silent = self._clock.monotonic() - self._heard
        if self._trouble.refused or (silent > SILENCE_S and self._present):
            raise self._trouble.silence(doing)
        if silent > SILENCE_S:
            raise no_topic(self._kafka, doing)

    def _explained(self, error: KafkaError, doing: str) -> SpringtideError:
        if not self._positions:
            # Lets the client tell its troubles; with partitions assigned this could return a message.
            self._client.poll(0)
        return self._trouble.explained(error, doing)

    def _connected(self) -> None:
        self._heard = self._clock.monotonic()
        self._trouble.cleared()

    def _on_statistics(self, text: str) -> None:
        """Twice a second: a broker in state UP that knows the partitions is the only proof of life when idle."""
        statistics = orjson.loads(text)
        up = brokers_answer(statistics)
        self._present = not up or partitions_known(statistics, self.topic, self._positions)
        if up and self._present:
            self._connected()

    def _on_mirrored(self, error: KafkaError | None, _: list[TopicPartition]) -> None:
        # The first tries meet a group coordinator that is not known yet.
        self._mirror_failures = 0 if error is None else self._mirror_failures + 1
        if error is not None and self._mirror_failures == MIRROR_FAILURES:
            _log.warning("offsets_not_mirrored", topic=self.topic, reason=error.str())
