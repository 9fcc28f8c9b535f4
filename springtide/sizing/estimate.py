"""Cores, memory, store and network of a pipeline at a stated load, from unit costs; measures nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from infra.spec import IdFeature, NumberFeature, Pipeline
from springtide.sizing import unit_costs as costs
from springtide.wiring import build_encoder, build_tables
from streaming.sql import state_kept

MIB: Final = 1 << 20
METADATA_BYTES: Final = 12
# A JVM whose heap is fuller collects all the time.
HEAP_SHARE: Final = 0.6
# A core that is busier answers late.
BUSY: Final = 0.7
# Flink forgets a key when it was remembered for long enough, or up to half as much longer.
REMEMBERED_FACTOR: Final = 1.25
KEPT_HOURS: Final = 6.0
# Columns that a sample has beside the impression's.
SAMPLE_BYTES: Final = 260


@dataclass(frozen=True)
class Load:
    """What is asked for.

    Attributes:
        events: Impressions and feedback a second.
        keys: Rows of all tables together.
        event_bytes: Of one event.
        replicas: How many.
        requests: Prediction requests a second, of all replicas together.
        candidates: Of one request.
    """

    events: float
    keys: int
    event_bytes: int = 300
    replicas: int = 2
    requests: float = 0.0
    candidates: int = 100


@dataclass(frozen=True)
class Need:
    """What one role wants; a replica's is that of one."""

    role: str
    count: int
    cores: float
    mebibytes: float


@dataclass(frozen=True)
class Estimate:
    """What everything wants.

    Attributes:
        needs: By role.
        put_bytes: Bytes of versions a second.
        puts: Objects of versions a second.
        kept_bytes: What the store keeps with the default collection.
        network: Bytes a second by way.
        behind_s: p50 and p99 of how far replicas are behind.
        longest_commit_s: The commit interval that just holds the objective; 0 where none does.
        parallelism: Slots that the join wants.
        remembered_mebibytes: Of the join's memory what is taken by keys that nothing is joined with any more.
        learner_samples: Samples a second that one learner carries.
        samples: Samples a second.
    """

    needs: tuple[Need, ...]
    put_bytes: float
    puts: float
    kept_bytes: float
    network: Mapping[str, float]
    behind_s: tuple[float, float]
    longest_commit_s: float
    parallelism: int
    remembered_mebibytes: float
    learner_samples: float
    samples: float

    @property
    def cores(self) -> float:
        """Of all processes together."""
        return sum(each.cores * each.count for each in self.needs)

    @property
    def mebibytes(self) -> float:
        """Of all processes together."""
        return sum(each.mebibytes * each.count for each in self.needs)


def estimate(pipeline: Pipeline, load: Load, slo_s: float) -> Estimate:
    """What ``pipeline`` wants at ``load`` to be no further behind than ``slo_s`` seconds.

    Processor time is proportional to events, and in the learner to ids; what was measured is far below most loads, so
    this says the order of things and not the last third.
    """
    samples = load.events * costs.SAMPLES_PER_EVENT.value
    commit = pipeline.learner.commit_interval.seconds
    ids, floats = shape(pipeline)
    # A version holds the rows touched since the last one, at most all there are.
    put_bytes = load.events * costs.PUT_BYTES_PER_EVENT.value * max(1.0, floats) / costs.DEMO_FLOATS
    learner_row, replica_row = row_bytes(pipeline)
    put_bytes = min(put_bytes, load.keys * learner_row / commit) if load.keys else put_bytes
    return Estimate(
        needs=tuple(_needs(pipeline, load, ids, learner_row, replica_row)),
        put_bytes=put_bytes,
        puts=costs.PUTS_PER_VERSION.value / commit,
        kept_bytes=put_bytes * KEPT_HOURS * 3600 + 2 * load.keys * learner_row,
        network={
            "events into Kafka": load.events * load.event_bytes,
            "events to the join": load.events * load.event_bytes,
            "samples to the learner": samples * (load.event_bytes + SAMPLE_BYTES),
            "versions to the store": put_bytes,
            "versions to replicas": put_bytes * load.replicas,
        },
        behind_s=(costs.FRESH_P50_S.value + 0.6 * commit, costs.FRESH_P99_S.value + commit),
        longest_commit_s=max(0.0, slo_s - costs.FRESH_P99_S.value),
        parallelism=max(1, math.ceil(load.events * costs.EVENT_US["flink"].value * 1e-6 / BUSY)),
        remembered_mebibytes=_remembered_bytes(pipeline, load) / HEAP_SHARE / MIB,
        learner_samples=BUSY * 1e6 / costs.FULL_BATCH_US.value * min(2.0, costs.FULL_BATCH_IDS / max(1, ids)),
        samples=samples,
    )


def carried(pipeline: Pipeline, cores: float, replicas: int = 2) -> float:
    """Events a second at which the whole loop fills so many cores, servers and replicas among them."""
    ids, _ = shape(pipeline)

    def filled(events: float) -> float:
        needs = _needs(pipeline, Load(events, 0, replicas=replicas), ids, learner_row=0.0, replica_row=0.0)
        return sum(each.cores * each.count for each in needs)

    idle, busy = filled(0.0), filled(1000.0)
    return max(0.0, (cores - idle) / (busy - idle) * 1000)


def shape(pipeline: Pipeline) -> tuple[int, int]:
    """Ids a sample (a list counts once, a sequence by its length), and the floats of their rows."""
    dims = {table.name: table.dim for table in pipeline.tables}
    counted = [
        (feature.length if isinstance(feature, IdFeature) and feature.length else 1, dims[feature.table])
        for feature in pipeline.features
        if not isinstance(feature, NumberFeature)
    ]
    return sum(ids for ids, _ in counted), sum(ids * dim for ids, dim in counted)


def row_bytes(pipeline: Pipeline) -> tuple[float, float]:
    """Bytes of a row in the learner and in a replica, the mean over the tables."""
    count = len(pipeline.tables)
    if not count:
        return 0.0, 0.0
    built = build_tables(pipeline, build_encoder(pipeline), max_batch=1, trainable=True)
    learner = [(table.dim + built.slot_width(table.name)) * 4 + METADATA_BYTES for table in built.tables]
    replica = [table.dim * 4 for table in built.tables]
    return (
        sum(learner) / len(learner) * costs.LEARNER_ROW_FACTOR.value,
        sum(replica) / len(replica) * costs.REPLICA_ROW_FACTOR.value,
    )


def _remembered_bytes(pipeline: Pipeline, load: Load) -> float:
    """Of keys behind both their windows, for each kind of feedback."""
    seconds = REMEMBERED_FACTOR * state_kept(pipeline).seconds
    behind = (max(0.0, seconds - pipeline.join.windows(kind)[1].seconds) for kind in pipeline.events.feedback)
    return load.events * sum(behind) * costs.STATE_KEY_BYTES.value


def _needs(pipeline: Pipeline, load: Load, ids: int, learner_row: float, replica_row: float) -> Iterator[Need]:
    join = pipeline.join
    state = _remembered_bytes(pipeline, load) + sum(
        load.events * window.seconds * costs.STATE_WINDOW_BYTES.value
        + load.events * (correction.seconds - window.seconds) * costs.STATE_CORRECTION_BYTES.value
        for window, correction in map(join.windows, pipeline.events.feedback)
    )
    # Beside its base, mebibytes.
    more = {
        "flink": state / HEAP_SHARE / MIB,
        "learner": load.keys * learner_row / MIB,
        "replica": load.keys * replica_row / MIB,
    }
    wider = {"learner": max(0.5, ids / costs.DEMO_IDS)}
    answers = load.requests * load.candidates * ids / costs.REQUEST_IDS * costs.REQUEST_US.value * 1e-6
    for role, base in costs.BASE_CORES.items():
        count = load.replicas if role == "replica" else 1
        cores = base.value + load.events * costs.EVENT_US[role].value * 1e-6 * wider.get(role, 1.0)
        if role == "replica" and count:
            cores += answers / count
        yield Need(role, count, cores, costs.MEMORY_MIB[role].value + more.get(role, 0.0))
