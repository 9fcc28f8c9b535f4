"""Whether a broker answers a metadata request; must not know topics."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient


def answers(bootstrap: str, timeout_seconds: float = 1.0) -> bool:
    """Whether the broker at ``bootstrap`` answers a metadata request and is itself in the answer."""
    # The client logs every refused connection to standard error; here they are what is expected.
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})
    try:
        return len(client.list_topics(timeout=timeout_seconds).brokers) > 0
    except KafkaException:
        return False
