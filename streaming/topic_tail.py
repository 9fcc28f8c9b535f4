"""Reads what a topic of Springtide's holds now, each record once; must not know what the records mean."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple, Self

from infra.kafka import PartitionReader
from infra.spec import Kafka

READ_BATCH: Final = 10_000
READ_TIMEOUT_SECONDS: Final = 1.0
# A broker that is away is an error after 3 s; an answer without records so often means that there are none.
_EMPTY_READS: Final = 3


class Record(NamedTuple):
    """One record; ``received_ms`` is Kafka's timestamp, ms since 1970."""

    partition: int
    offset: int
    received_ms: int
    value: bytes


class TopicTail:
    """The records of a topic, each handed out once.

    Args:
        kafka: Where the topic is.
        topic: Its name.
        since_ms: Only what was received from then on, ms since 1970; 0 for everything.
        group: The consumer group named to the brokers.
    """

    def __init__(self, kafka: Kafka, topic: str, *, since_ms: int = 0, group: str = "springtide-tail") -> None:
        self._reader = PartitionReader(kafka, topic, group=group)
        self._reader.assign(self._reader.positions_at(since_ms or "beginning"))

    def read(self) -> Iterator[Record]:
        """Everything that the topic holds now and was not handed out yet.

        Raises:
            Unavailable: No broker answers.
        """
        ends = {partition: marks.high for partition, marks in self._reader.watermarks().items()}
        empty = 0
        # The end marker of a transaction is an offset without a record, which the position never passes by itself.
        while empty < _EMPTY_READS and any(self._reader.positions()[each] < end for each, end in ends.items()):
            batch = self._reader.poll_batch(READ_BATCH, READ_TIMEOUT_SECONDS)
            empty = 0 if len(batch.values) else empty + 1
            records = zip(
                batch.partitions.tolist(),
                batch.offsets.tolist(),
                batch.timestamps_ms.tolist(),
                batch.values,
                strict=True,
            )
            yield from (
                Record(partition, offset, received, value)
                for partition, offset, received, value in records
                if value is not None
            )

    def close(self) -> None:
        """Ends the reader."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
