"""What people decide about a running learner: it pauses, goes back and forgets, and says so in the line."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from checkpointing.control import ControlLog, RowKey
from checkpointing.manifest import Manifest
from checkpointing.restore import restore
from infra import spec
from infra.object_store import ObjectStore, open_store
from kernels.arrow_columns import hash_text
from tests.learner.messages import message, sample
from tests.learner.stream import (
    CLOCK,
    assert_replay_equals,
    committed_offsets,
    learner,
    line,
    make_pipeline,
    make_topic,
    send,
    until,
)

Unique = Callable[[str], str]


def decide(store: ObjectStore, pipeline: spec.Pipeline, kind: Any, **about: Any) -> int:
    return ControlLog(store, pipeline.name).append(kind, who="ann", why="a test", clock=CLOCK, **about).number


def newest(store: ObjectStore, pipeline: spec.Pipeline) -> Manifest:
    return line(store, pipeline)[-1]


def test_a_paused_learner_lives_and_learns_nothing_until_it_is_resumed(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("pause"), local_kafka.bootstrap, heartbeat_interval="100ms")
    make_topic(pipeline)
    store = open_store(pipeline.store)
    with learner(pipeline, store) as running:
        send(pipeline, [(0, message(number)) for number in range(50)])
        until(lambda: committed_offsets(store, pipeline) == {0: 50})
        decide(store, pipeline, "pause")
        until(lambda: running.status()["held"] is not None)
        assert "pause by ann since" in running.status()["held"] and "a test" in running.status()["held"]
        send(pipeline, [(0, message(number)) for number in range(50, 80)])
        beats = [manifest.kind for manifest in line(store, pipeline)].count("heartbeat")
        until(lambda: [m.kind for m in line(store, pipeline)].count("heartbeat") >= beats + 5)
        assert committed_offsets(store, pipeline) == {0: 50} and running.status()["samples_total"] == 50
    # A decision outlives the process.
    with learner(pipeline, store) as running:
        until(lambda: running.status()["held"] is not None)
        assert running.status()["samples_total"] == 0
        decide(store, pipeline, "resume")
        until(lambda: committed_offsets(store, pipeline) == {0: 80})
        until(lambda: running.status()["held"] is None)


def test_it_goes_back_to_a_version_once_and_leaves_what_came_since(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("revert"), local_kafka.bootstrap, heartbeat_interval="200ms")
    make_topic(pipeline, partitions=2)
    store = open_store(pipeline.store)
    with learner(pipeline, store) as running:
        send(pipeline, [(number % 2, message(number)) for number in range(100)])
        until(lambda: committed_offsets(store, pipeline) == {0: 50, 1: 50})
        good = next(m for m in reversed(line(store, pipeline)) if m.changes)
        send(pipeline, [(number % 2, message(number, label_click=1)) for number in range(100, 160)])
        until(lambda: committed_offsets(store, pipeline) == {0: 80, 1: 80})
        number = decide(store, pipeline, "revert-learner", version=good.version)
        until(lambda: any(m.kind == "revert" for m in line(store, pipeline)))
        (revert,) = [m for m in line(store, pipeline) if m.kind == "revert"]
        assert (revert.base_ref, revert.obeyed, revert.gate.servable) == (good.version, number, True)
        assert revert.quarantined == ((0, 50, 80), (1, 50, 80))
        assert {p.partition: p.next_offset for p in revert.positions} == {0: 80, 1: 80}
        before, after = restore(store, pipeline.name, good.version), restore(store, pipeline.name, revert.version)
        assert before.tables.keys() == after.tables.keys()
        for name, rows in before.tables.items():
            np.testing.assert_array_equal(rows.keys, after.tables[name].keys)
            np.testing.assert_array_equal(rows.values, after.tables[name].values)
            np.testing.assert_array_equal(rows.slots, after.tables[name].slots)
        send(pipeline, [(number % 2, message(number)) for number in range(160, 200)])
        until(lambda: committed_offsets(store, pipeline) == {0: 100, 1: 100})
        assert running.status()["state"] == "running"
    # The next learner knows that the decision was obeyed.
    with learner(pipeline, store):
        send(pipeline, [(0, message(200))])
        until(lambda: committed_offsets(store, pipeline) == {0: 101, 1: 100})
    assert [m.kind for m in line(store, pipeline)].count("revert") == 1
    assert newest(store, pipeline).obeyed == number
    assert_replay_equals(pipeline, store, newest(store, pipeline).version)


def test_a_version_that_cannot_be_had_costs_nothing(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("nowhere"), local_kafka.bootstrap, heartbeat_interval="200ms")
    make_topic(pipeline)
    store = open_store(pipeline.store)
    with learner(pipeline, store):
        send(pipeline, [(0, message(number)) for number in range(40)])
        until(lambda: committed_offsets(store, pipeline) == {0: 40})
        number = decide(store, pipeline, "revert-learner", version=9_999)
        send(pipeline, [(0, message(number)) for number in range(40, 80)])
        until(lambda: committed_offsets(store, pipeline) == {0: 80} and newest(store, pipeline).obeyed == number)
    assert all(manifest.kind != "revert" for manifest in line(store, pipeline))
    assert_replay_equals(pipeline, store, newest(store, pipeline).version)


def test_a_forgotten_key_has_no_row_and_gets_none_again(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("forget"), local_kafka.bootstrap)
    make_topic(pipeline)
    store = open_store(pipeline.store)
    gone = sample(1)["user"]
    key = int(hash_text(pa.array([gone]), "user")[0])

    def has_row() -> bool:
        return key in restore(store, pipeline.name).tables["user"].keys

    with learner(pipeline, store):
        send(pipeline, [(0, message(number)) for number in range(60)])
        until(lambda: committed_offsets(store, pipeline) == {0: 60})
        assert has_row()
        number = decide(store, pipeline, "forget", keys=[RowKey(table="user", key=key)])
        until(lambda: newest(store, pipeline).obeyed == number)
        assert not has_row()
        # More of the same user: what is left in Kafka must not bring the row back.
        send(pipeline, [(0, message(number, user=gone)) for number in range(60, 120)])
        until(lambda: committed_offsets(store, pipeline) == {0: 120})
        assert not has_row()
    with learner(pipeline, store):
        send(pipeline, [(0, message(number, user=gone)) for number in range(120, 180)])
        until(lambda: committed_offsets(store, pipeline) == {0: 180})
    assert not has_row()
    assert_replay_equals(pipeline, store, newest(store, pipeline).version)
    for manifest in line(store, pipeline):
        if manifest.obeyed >= number:
            assert key not in restore(store, pipeline.name, manifest.version).tables["user"].keys
