"""What each event in this room's log means; the operator's reference is made from it. Knows no code."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final

EVENTS: Final[dict[str, str]] = {
    "kafka_trouble": "A Kafka client reports an error; once per change of kind.",
    "kafka_connected": "A Kafka client that was in trouble is served again.",
    "topic_created": "A topic of Springtide's own was created.",
    "topic_has_fewer_partitions": "A topic exists with fewer partitions than the pipeline wants; it stays so.",
    "topic_takes_larger_messages": "A topic of before was told to take messages as large as new ones do.",
    "topic_limit_unknown": "Whether a topic takes messages as large as are wanted may not be asked, or not be changed.",
    "offsets_not_mirrored": "Positions could not be copied to Kafka for lag tools; nothing else depends on them.",
    "unavailable": "Something outside does not answer; retried with backoff; once per change of cause.",
    "available_again": "What was unavailable answers again.",
    "status_failed": "A status page could not be made.",
}
