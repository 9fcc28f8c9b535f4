"""What every client that reads has in common: its settings, and what its statistics say; must not know a topic."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

# Positions are the caller's; one that is gone is an error, and what a transaction took back is not read.
CONSUMING: Final[dict[str, Any]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": False,
    "fetch.error.backoff.ms": 100,
    # Prefetch bounds memory.
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 32_768,
}
# A broker that restarts is back sooner; a longer silence is told to the caller.
SILENCE_S: Final = 3.0


def brokers_answer(statistics: dict[str, Any]) -> bool:
    """Whether a broker is in state UP, by the client's statistics: the only proof of life when idle."""
    return any(broker["state"] == "UP" and broker["nodeid"] >= 0 for broker in statistics["brokers"].values())


def partitions_known(statistics: dict[str, Any], topic: str, partitions: Iterable[int]) -> bool:
    """Whether the brokers told the client of every one of ``partitions``."""
    known = statistics["topics"].get(topic, {}).get("partitions", {})
    return all(str(each) in known and not known[str(each)]["unknown"] for each in partitions)
