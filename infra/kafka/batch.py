"""Raw messages of one topic with their places, by column; knows no client and no format."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Messages in the order read; within a partition offsets ascend.

    Attributes:
        topic: Where they come from.
        partitions: int32, one per message.
        offsets: int64, one per message.
        timestamps_ms: int64, Kafka's timestamp of each message in milliseconds; -1 where it has none.
        keys: The keys as sent.
        values: The bodies as sent; None is a tombstone.
    """

    topic: str
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    keys: list[bytes | None]
    values: list[bytes | None]

    def __len__(self) -> int:
        return len(self.values)

    def next_positions(self) -> dict[int, int]:
        """Per partition seen, the offset after its last message here."""
        return dict(zip(self.partitions.tolist(), (self.offsets + 1).tolist(), strict=True))

    def runs(self) -> list[tuple[int, int, int]]:
        """The order read, as runs ``(partition, from, to)`` with ``to`` exclusive."""
        if not len(self):
            return []
        starts = np.flatnonzero(np.diff(self.partitions, prepend=self.partitions[0] - 1))
        ends = np.append(starts[1:], len(self)) - 1
        return [
            (int(self.partitions[start]), int(self.offsets[start]), int(self.offsets[end]) + 1)
            for start, end in zip(starts, ends, strict=True)
        ]
