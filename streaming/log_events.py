"""What each event in this room's log means; the operator's reference is made from it. Knows no code."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final

EVENTS: Final[dict[str, str]] = {
    "checkpoint_given_up": "A job could not start from this checkpoint; the one before it is tried.",
    "checkpoints_not_listed": "We may not list the folder of checkpoints; those that the cluster tells of are used.",
    "feedback_back": "Feedback that was silent comes again; what was held for it is told now.",
    "feedback_silent": "A kind of feedback is silent while impressions come: its negatives are held until it is back.",
    "heartbeats_not_delivered": "Heartbeats do not reach Kafka: quiet topics hold up event time. Once per outage.",
    "heartbeats_resumed": "Heartbeats reach Kafka again.",
    "join_adopted": "A running job with the same plan was found and is watched from now on.",
    "join_doubled": "The same join ran twice, since a submission had gone through unseen; the older job was cancelled.",
    "join_not_stopped": "The cluster could not be asked to end the join; it may run on.",
    "join_savepoint": "The join has ended and left a savepoint to go on from.",
    "join_still_ending": "The join was told to end and had not after the time for it.",
    "join_stopped": "The join has ended.",
    "join_submitted": "The join was submitted, from a checkpoint where one is named.",
    "join_upgraded": "A join of another plan was replaced without a gap; the job before it was cancelled.",
    "join_without_savepoint": "The join ended without a savepoint; it goes on from its last checkpoint.",
    "replay_not_begun": "A replay was asked for, but the join runs already, or has checkpoints; it goes on.",
}
