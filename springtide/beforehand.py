"""Finds what would end a role at once, before TensorFlow is loaded, which takes seconds; must not load it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from contextlib import suppress
from typing import Final

from checkpointing.history import newest_version
from infra.clock import Clock
from infra.errors import Unavailable
from infra.kafka import KafkaAdmin
from infra.object_store import ObjectStore
from infra.spec import Kafka
from infra.status_server import require_port

# Brokers that do not answer by then are waited for later, when the status can say so.
KAFKA_S: Final = 2.0


def require(store: ObjectStore, host: str, port: int, clock: Clock, kafka: Kafka | None = None) -> None:
    """Makes sure that the port is free, and that nobody refuses the login; who is silent is the role's to wait for.

    Args:
        store: The model's store.
        host: Where the role will listen.
        port: On which port; 0 takes a free one.
        clock: For bounded waits.
        kafka: The brokers, if the role reads from them.

    Raises:
        Invalid: The port is in use, a secret is missing, or it is refused.
    """
    require_port(host, port)
    with suppress(Unavailable):
        newest_version(store)
    if kafka is not None:
        admin = KafkaAdmin(kafka, clock=clock)
        with suppress(Unavailable):
            admin.describe(KAFKA_S)
