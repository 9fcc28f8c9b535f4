"""What was measured of the loop: each figure with its date, command and load; must not compute with them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LOOP: Final = "make bench-loop-costs"
ROWS: Final = "make bench-row-memory"
DEMO: Final = (
    "the demo's pipeline, 2 replicas, 0, 305 and 947 events/s, two AVX2 cores with other work beside (load 6 to 20)"
)
ON: Final = "2026-11-27"


@dataclass(frozen=True)
class UnitCost:
    """One measured figure.

    Attributes:
        value: In ``unit``.
        unit: Its unit.
        measured: When, ISO-8601.
        command: By which command.
        load: Under which load.
    """

    value: float
    unit: str
    measured: str
    command: str
    load: str


def _loop(value: float, unit: str, load: str = DEMO) -> UnitCost:
    return UnitCost(value, unit, ON, LOOP, load)


# By role: cores without any event, processor time for each, memory after 20,000 rows and 150,000 events.
BASE_CORES: Final = {
    "kafka": _loop(0.205, "cores"),
    "store": _loop(0.078, "cores"),
    "flink": _loop(0.310, "cores"),
    "join": _loop(0.042, "cores"),
    "learner": _loop(0.095, "cores"),
    "compactor": _loop(0.0, "cores"),
    "replica": _loop(0.037, "cores"),
    "page": _loop(0.035, "cores"),
}
EVENT_US: Final = {
    "kafka": _loop(114.5, "µs"),
    "store": _loop(15.9, "µs"),
    "flink": _loop(326.0, "µs"),
    "join": _loop(12.0, "µs"),
    "learner": _loop(215.6, "µs"),
    "compactor": _loop(40.2, "µs"),
    "replica": _loop(18.2, "µs"),
    "page": _loop(33.9, "µs"),
}
MEMORY_MIB: Final = {
    "kafka": _loop(267.0, "MiB"),
    "store": _loop(440.0, "MiB"),
    "flink": _loop(1310.0, "MiB"),
    "join": _loop(91.0, "MiB"),
    "learner": _loop(410.0, "MiB"),
    "compactor": _loop(75.0, "MiB"),
    "replica": _loop(570.0, "MiB"),
    "page": _loop(118.0, "MiB"),
}
SAMPLES_PER_EVENT: Final = _loop(0.647, "1")
# Of which shape the figures above are: ids a sample, and floats of their rows.
DEMO_IDS: Final = 9
DEMO_FLOATS: Final = 81
PUT_BYTES_PER_EVENT: Final = _loop(215.0, "B", "947 events/s, 612 samples/s of 9 ids, dim 9, a version a second")
PUTS_PER_VERSION: Final = _loop(1.79, "1", "947 events/s, a version a second")
LEARNER_ROW_FACTOR: Final = UnitCost(
    1.28, "x", ON, ROWS, "2,000,000 rows of dim 16, Adagrad; over values and state + 12 B"
)
REPLICA_ROW_FACTOR: Final = UnitCost(1.43, "x", ON, ROWS, "2,000,000 rows of dim 16; over the values")
# On the heap of the join's workers: ten times what a checkpoint of them takes, packed.
STATE_WINDOW_BYTES: Final = UnitCost(
    2945.0, "B", "2026-11-28", "make bench-join", "50,000 impressions of 188 bytes of JSON, live on the heap"
)
STATE_CORRECTION_BYTES: Final = UnitCost(1808.0, "B", "2026-11-28", "make bench-join", "the same, behind the window")
STATE_KEY_BYTES: Final = UnitCost(868.0, "B", "2026-11-28", "make bench-join", "the same, behind both windows")
FULL_BATCH_US: Final = UnitCost(
    96.0, "µs", ON, "make bench-learner", "processor time, 26 ids of dim 16, 13 numbers, batches of 1,024, no commits"
)
FULL_BATCH_IDS: Final = 26
REQUEST_US: Final = UnitCost(
    950.0, "µs", "2026-11-26", "make bench-serving", "100 candidates of 26 ids, 256-128, 13 features shared"
)
REQUEST_IDS: Final = 100 * 26
# How old the model is beside the wait for the next version.
FRESH_P50_S: Final = UnitCost(
    0.285, "s", "2026-11-26", "make bench-freshness", "504 events/s: 0.890 less the wait for a commit"
)
FRESH_P99_S: Final = UnitCost(
    0.61, "s", "2026-11-26", "make bench-freshness", "504 events/s: 1.609 less a whole interval"
)
# Of the whole demo, against which the predictions are held.
CARRIED_EVENTS: Final = _loop(1793.0, "1/s", "40,000 impressions at once, until all were learned; two cores")
DEMO_PEAK_MIB: Final = UnitCost(
    3.4 * 1024, "MiB", "2026-11-26", "make demo", "100,000 ratings in three minutes, its own process among them"
)

TABLES: Final = {"base cores": BASE_CORES, "per event": EVENT_US, "memory": MEMORY_MIB}
SINGLE: Final = {
    "samples an event": SAMPLES_PER_EVENT,
    "bytes put an event": PUT_BYTES_PER_EVENT,
    "objects a version": PUTS_PER_VERSION,
    "a learner's row over its payload": LEARNER_ROW_FACTOR,
    "a replica's row over its values": REPLICA_ROW_FACTOR,
    "join state an impression in the window": STATE_WINDOW_BYTES,
    "join state an impression behind it": STATE_CORRECTION_BYTES,
    "join state a key that is remembered": STATE_KEY_BYTES,
    "a sample in a learner with full batches": FULL_BATCH_US,
    "a request": REQUEST_US,
    "p50 beside the commit interval": FRESH_P50_S,
    "p99 beside the commit interval": FRESH_P99_S,
    "events the demo's loop carries": CARRIED_EVENTS,
    "peak memory of the demo": DEMO_PEAK_MIB,
}
