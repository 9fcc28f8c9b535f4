"""The running learner on the real Kafka: it trains each sample once, commits, goes on, and can be replayed."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from checkpointing.quality import add_up
from checkpointing.restore import restore
from infra.errors import Fenced, Unavailable
from infra.object_store import ObjectStore, open_store
from tests.learner.messages import message, sample
from tests.learner.stream import (
    Running,
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


def test_it_trains_commits_goes_on_after_a_restart_and_replays_bit_for_bit(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("loop"), local_kafka.bootstrap)
    make_topic(pipeline, partitions=2)
    store = open_store(pipeline.store)
    repeated = [message(number) for number in range(100)]
    with learner(pipeline, store) as running:
        send(pipeline, [(number % 2, message(number)) for number in range(300)])
        send(pipeline, [(number % 2, body) for number, body in enumerate(repeated)])
        until(lambda: committed_offsets(store, pipeline) == {0: 200, 1: 200})
        until(lambda: running.status()["behind_records"] == 0)
        status = running.status()
    assert status["role"] == "learner" and status["state"] == "running" and status["epoch"] == 1
    assert (status["samples_total"], status["duplicates_total"]) == (300, 100)
    # Sent again while no learner ran: the restored window knows them.
    send(pipeline, [(number % 2, body) for number, body in enumerate(repeated)])
    send(pipeline, [(number % 2, message(number)) for number in range(300, 400)])
    with learner(pipeline, store) as running:
        until(lambda: committed_offsets(store, pipeline) == {0: 300, 1: 300})
        until(lambda: running.status()["samples_total"] == 100)
        assert running.status()["epoch"] == 2
    manifests = line(store, pipeline)
    assert [manifest.kind for manifest in manifests].count("claim") == 2
    # Every offset once, in order.
    for partition in (0, 1):
        runs = [run for m in manifests for batch in m.batches for run in batch if run[0] == partition]
        assert [begin for _, begin, _ in runs] == [0, *(end for _, _, end in runs[:-1])] and runs[-1][2] == 300
    newest = manifests[-1].version
    assert_replay_equals(pipeline, store, newest)
    quality = add_up(manifest.metrics for manifest in manifests)
    assert quality.samples == 400
    assert quality.positives == sum(sample(number)["label_click"] for number in range(400))


def test_the_manifest_says_what_the_version_knows(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("facts"), local_kafka.bootstrap)
    make_topic(pipeline)
    store = open_store(pipeline.store)
    probe = json.loads(message(7)) | {
        "sample_id": "__probe-1#x#click.0",
        "weight": 0,
        "kind": "click",
        "label_click": 1,
        "user": "probe",
    }
    with learner(pipeline, store) as running:
        until(lambda: running.status()["state"] == "running")
        until(lambda: any(manifest.changes for manifest in line(store, pipeline)))
        (first,) = [manifest for manifest in line(store, pipeline) if manifest.changes]
        # A new model has something to answer with before its first sample.
        assert first.gate.servable and first.graph is not None and not first.batches
        send(pipeline, [(0, message(number)) for number in range(20)])
        send(pipeline, [(0, json.dumps(probe).encode())])
        until(lambda: committed_offsets(store, pipeline) == {0: 21})
        metrics = running.get("/metrics").text
    trained = [manifest for manifest in line(store, pipeline) if manifest.batches]
    newest = trained[-1]
    known = [json.loads(message(number)) for number in range(20)]
    state = restore(store, pipeline.name)
    assert newest.gate.servable and newest.graph is None
    assert newest.ranges()["rows", "genre"].dtype == "int8" and newest.ranges()["rows", "user"].dtype == "float32"
    assert (
        newest.newest_known_ts == newest.learned_through == max(known_ms(each["known_ts"]) for each in [*known, probe])
    )
    assert [each.id for manifest in trained for each in manifest.probes] == ["__probe-1#x"]
    feedback = [manifest.timeline for manifest in trained if manifest.timeline.received_ts is not None]
    oldest = min(timeline.received_ts for timeline in feedback if timeline.received_ts is not None)
    assert oldest == min(known_ms(each["received_ts"]) for each in known if each["label_click"])
    for timeline in feedback:
        order = [timeline.sampled_ts, timeline.trained_ts, timeline.captured_ts, timeline.committed_ts]
        assert None not in order and order == sorted(order)  # type: ignore[type-var]
    # The probe taught nothing: it has no row and is not counted as quality.
    assert add_up(manifest.metrics for manifest in trained).samples == 20
    assert len(state.tables["user"].keys) == len({each["user"] for each in known})
    ages = [np.asarray(manifest.label_histogram["counts"], np.int64) for manifest in trained]
    assert int(np.sum(ages)) == 21
    assert "springtide_learner_samples_total" in metrics and 'part="dense"' in metrics


def known_ms(text: str) -> int:
    """An ISO time of the wire as milliseconds."""
    return int(np.datetime64(text.rstrip("Z"), "ms").astype(np.int64))


def test_broken_messages_are_set_aside_and_the_loop_goes_on(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("poison"), local_kafka.bootstrap)
    make_topic(pipeline)
    store = open_store(pipeline.store)
    bodies = [message(0), b"garbage", None, message(1, age=1e200), message(2, label_click=None), message(3), b"{}"]
    with learner(pipeline, store) as running:
        send(pipeline, [(0, body) for body in bodies])
        until(lambda: committed_offsets(store, pipeline) == {0: 7})
        until(lambda: running.status()["samples_total"] == 4)
        assert running.status()["rejected_total"] == 4
    assert add_up(manifest.metrics for manifest in line(store, pipeline)).samples == 2
    assert all(manifest.gate.servable for manifest in line(store, pipeline) if manifest.changes)
    newest = line(store, pipeline)[-1].version
    assert_replay_equals(pipeline, store, newest)


def test_only_poison_moves_the_positions(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("only-poison"), local_kafka.bootstrap)
    make_topic(pipeline)
    store = open_store(pipeline.store)
    send(pipeline, [(0, b"x")] * 5)
    with learner(pipeline, store):
        until(lambda: committed_offsets(store, pipeline) == {0: 5})


def test_idle_it_commits_heartbeats(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("idle"), local_kafka.bootstrap, heartbeat_interval="50ms")
    make_topic(pipeline)
    store = open_store(pipeline.store)
    with learner(pipeline, store):
        until(lambda: [m.kind for m in line(store, pipeline)].count("heartbeat") >= 3)


def test_a_second_learner_fences_the_first_which_writes_nothing_more(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("fenced"), local_kafka.bootstrap, heartbeat_interval="50ms")
    make_topic(pipeline)
    store = open_store(pipeline.store)
    first = Running(pipeline, store, identity="one")
    until(lambda: committed_offsets(store, pipeline) == {0: 0})
    with learner(pipeline, store, identity="two", takeover=True):
        error = first.ended()
        assert isinstance(error, Fenced) and error.exit_code == 77
        send(pipeline, [(0, message(number)) for number in range(50)])
        until(lambda: committed_offsets(store, pipeline) == {0: 50})
    manifests = line(store, pipeline)
    claim = next(manifest.version for manifest in manifests if manifest.epoch == 2)
    assert {manifest.learner for manifest in manifests if manifest.version >= claim} == {"two"}
    newest = manifests[-1].version
    assert_replay_equals(pipeline, store, newest)


def test_while_another_learner_lives_one_without_takeover_does_not_start(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("alive"), local_kafka.bootstrap, heartbeat_interval="50ms")
    make_topic(pipeline)
    store = open_store(pipeline.store)
    with learner(pipeline, store, identity="one"):
        until(lambda: committed_offsets(store, pipeline) == {0: 0})
        second = Running(pipeline, store, identity="two")
        assert isinstance(second.ended(), Fenced)


class Outage:
    """A store that answers only while it is told to."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.down = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)
        if self.down and callable(call):

            def unavailable(*args: Any, **options: Any) -> Any:
                raise Unavailable("the store is down", where="test")

            return unavailable
        return call


def test_it_goes_on_training_while_the_store_is_down_and_commits_afterwards(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("outage"), local_kafka.bootstrap)
    make_topic(pipeline)
    store = Outage(open_store(pipeline.store))
    with learner(pipeline, store) as running:
        send(pipeline, [(0, message(number)) for number in range(50)])
        until(lambda: committed_offsets(store, pipeline) == {0: 50})
        store.down = True
        send(pipeline, [(0, message(number)) for number in range(50, 150)])
        until(lambda: running.status()["samples_total"] == 150)
        store.down = False
        until(lambda: committed_offsets(store, pipeline) == {0: 150})
    assert add_up(manifest.metrics for manifest in line(store, pipeline)).samples == 150
    newest = line(store, pipeline)[-1].version
    assert_replay_equals(pipeline, store, newest)


def test_it_starts_before_its_topic_does(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("early"), local_kafka.bootstrap)
    store = open_store(pipeline.store)
    with learner(pipeline, store) as running:
        until(lambda: running.status()["state"] == "connecting")
        assert running.get("/readyz").status_code == 503
        make_topic(pipeline)
        send(pipeline, [(0, message(1))])
        until(lambda: committed_offsets(store, pipeline) == {0: 1})
        until(lambda: running.get("/readyz").status_code == 200)
