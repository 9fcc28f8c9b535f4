"""What freshness is measured from and what comes out of it; must not know how it is measured."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

WaitingFor = Literal["join", "learner", "replica"]
Place = tuple[int, int]  # partition, offset


class Feedback(NamedTuple):
    """One record of the user's feedback topic. A tuple, because hundreds are made each second.

    Args:
        key: The join key; empty where none can be read.
        event_ms: Its event time, milliseconds; the receive time where none can be read.
        received_ms: Kafka's timestamp of the record, milliseconds.
        place: Its partition and offset in the user's topic.
    """

    key: str
    event_ms: int
    received_ms: int
    place: Place


@dataclass(frozen=True, slots=True)
class Behind:
    """How far one replica is behind.

    Args:
        oldest_received_ms: Receive time of the oldest feedback that it has not learned; None: it has caught up.
        waiting_for: Who must act next on that feedback.
    """

    oldest_received_ms: int | None = None
    waiting_for: WaitingFor | None = None

    def ms(self, now_ms: int) -> int:
        """Milliseconds behind at ``now_ms``; 0 when caught up."""
        return 0 if self.oldest_received_ms is None else max(0, now_ms - self.oldest_received_ms)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the tracker knows at one moment.

    Args:
        committed: Of the newest committed version, whether or not a replica has applied it.
        replicas: Of every known replica.
        idle: No feedback for a while and none pending.
        last_feedback_ms: Receive time of the newest feedback seen; None before the first.
        waiting_for_join: Followed feedback without a verdict.
        waiting_for_learner: Followed feedback that is a sample, but in no version.
        followed_share: 1 when every key is followed, 0.5 when one in two is, and so on.
    """

    committed: Behind
    replicas: Mapping[str, Behind]
    idle: bool
    last_feedback_ms: int | None
    waiting_for_join: int
    waiting_for_learner: int
    followed_share: float
