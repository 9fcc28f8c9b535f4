"""How a learner begins on the real Kafka: at a moment, warm, beside others, and with a pipeline that has changed."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from checkpointing.follower import Follower
from checkpointing.quality import add_up
from infra import spec
from infra.errors import Invalid
from infra.kafka import PartitionReader
from infra.object_store import ObjectStore, open_store
from learner.migration import migrations
from learner.rebuild import rebuild
from learner.replay import replay
from learner.run import Beginning
from learner.trainer import Trainer
from learner.warm_start import WarmStart
from streaming import topics
from tests.learner.live_model import rows_of
from tests.learner.messages import PIPELINE, message
from tests.learner.state import assert_same, restored
from tests.learner.stream import (
    CLOCK,
    committed_offsets,
    fresh_trainer,
    learner,
    line,
    make_pipeline,
    make_topic,
    send,
    until,
)

Unique = Callable[[str], str]


def run_through(pipeline: spec.Pipeline, store: ObjectStore, end: int, **options: Any) -> None:
    """A learner until it has committed everything up to offset ``end``."""
    with learner(pipeline, store, identity="it", **options):
        until(lambda: committed_offsets(store, pipeline).get(0) == end)


def changed(pipeline: spec.Pipeline, **parts: Any) -> spec.Pipeline:
    return spec.Pipeline.model_validate(pipeline.model_dump(mode="json") | parts)


def test_a_live_model_goes_on_with_a_changed_pipeline(local_kafka: Any, unique: Unique) -> None:
    name = unique("changed")
    old = make_pipeline(name, local_kafka.bootstrap)
    make_topic(old)
    store = open_store(old.store)
    send(old, [(0, message(number)) for number in range(200)])
    run_through(old, store, 200)

    wide = [table | {"dim": 12, "optimizer": {"kind": "adam"}} for table in PIPELINE["tables"][:2]]
    new = changed(old, tables=wide, features=PIPELINE["features"][:2] + PIPELINE["features"][3:])
    # The second half of what is sent was learned before: the window of sample ids comes along.
    send(old, [(0, message(number)) for number in range(100, 300)])
    run_through(new, store, 400)
    manifests = line(store, old)
    (began,) = (manifest for manifest in manifests if manifest.kind == "revert")
    assert (began.base_ref, began.gate.servable, began.batches) == (0, True, ())
    assert add_up(manifest.metrics for manifest in manifests).samples == 300
    # It holds all that the rules keep, and nothing before it is needed.
    fresh = fresh_trainer(new)
    migrate = migrations(new, fresh, store.url)
    taken_over = restored(fresh, new, store, began.version - 1, migrate)
    assert_same(taken_over, restored(fresh_trainer(new), new, store, began.version))
    send(old, [(0, message(number)) for number in range(300, 364)])
    run_through(new, store, 464)
    newest = line(store, old)[-1].version
    with PartitionReader(old.kafka, topics.samples(name), group="rebuild") as reader:

        def make() -> Trainer:
            return fresh_trainer(new)

        again = rebuild(new, make, store, reader, CLOCK, first=began.version, last=newest)
        assert again.differences == [] and again.samples == 164
        with pytest.raises(Invalid, match=f"version {began.version} begins with what a changed pipeline took over"):
            replay(store, name, newest, make(), reader, CLOCK)
    # A replica of the new pipeline gets a table of the new dim, whatever there was.
    switch = Follower(store, name, CLOCK).poll().switch
    assert switch is not None and switch.version > began.version
    assert {rows.table: rows.values.shape[1] for rows in switch.tables} == {"user": 12, "item": 12}

    refused = changed(new, events=_with_purchases(new), model={"name": "wdl"})
    with pytest.raises(Invalid, match="labels: click to click, buy"), learner(refused, store, identity="it") as running:
        running.ended()


def _with_purchases(pipeline: spec.Pipeline) -> dict[str, Any]:
    events = pipeline.events.model_dump(mode="json")
    return events | {"feedback": [*events["feedback"], events["feedback"][0] | {"name": "buy", "topic": "buys"}]}


def test_a_model_begins_at_a_moment_and_goes_on_where_it_is(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("moment"), local_kafka.bootstrap)
    make_topic(pipeline, partitions=2)
    store = open_store(pipeline.store)
    send(pipeline, [(number % 2, message(number)) for number in range(100)])
    CLOCK.sleep(0.01)  # Kafka counts milliseconds
    moment = CLOCK.now_ms()
    send(pipeline, [(0, message(number)) for number in range(100, 140)])
    for more in (0, 20):
        # A restart with the same arguments goes on; it does not begin once more.
        send(pipeline, [(0, message(number)) for number in range(140, 140 + more)])
        with learner(pipeline, store, identity="it", beginning=Beginning(from_ms=moment)):
            until(lambda wanted=90 + more: committed_offsets(store, pipeline) == {0: wanted, 1: 50})  # type: ignore[misc]
    assert add_up(manifest.metrics for manifest in line(store, pipeline)).samples == 60


def test_a_model_starts_warm_and_several_learn_from_one_topic(local_kafka: Any, unique: Unique) -> None:
    first = make_pipeline(unique("first"), local_kafka.bootstrap)
    make_topic(first)
    store = open_store(first.store)
    send(first, [(0, message(number)) for number in range(200)])
    run_through(first, store, 200)
    second = changed(
        make_pipeline(unique("second"), local_kafka.bootstrap),
        samples={"of": first.name},
        model={"name": "dcnv2", "hidden": [8]},
        tables=[*PIPELINE["tables"][:2], {"name": "taste", "dim": 4}],
        features=[*PIPELINE["features"][:2], PIPELINE["features"][2] | {"table": "taste"}],
    )
    others = open_store(second.store)
    warm = Beginning(warm=WarmStart(store, first.name))
    end = sum(len(manifest.batches) for manifest in line(store, first))
    assert end
    with learner(second, others, identity="it", beginning=warm):
        until(lambda: committed_offsets(others, second).get(0) == 200)
    begun = next(manifest for manifest in line(others, second) if manifest.changes)
    assert begun.gate.servable and not begun.batches
    mine = restored(fresh_trainer(second), second, others, begun.version)
    theirs = restored(fresh_trainer(first), first, store, line(store, first)[-1].version)
    for table in ("user", "item"):
        rows, known = rows_of(mine, table), rows_of(theirs, table)
        assert rows.keys() == known.keys() and rows
        assert all(np.array_equal(rows[key][0], known[key][0]) for key in rows)
    assert mine.tables.row_count("taste") == 0 and not len(mine.window)
    # It has learned the same samples from the same topic, each once, with positions of its own.
    assert add_up(manifest.metrics for manifest in line(others, second)).samples == 200
    # And a restart does not start warm once more.
    send(first, [(0, message(number)) for number in range(200, 220)])
    with learner(second, others, identity="it", beginning=warm), learner(first, store, identity="it"):
        until(lambda: committed_offsets(others, second).get(0) == 220 == committed_offsets(store, first).get(0))
    assert add_up(manifest.metrics for manifest in line(others, second)).samples == 220


def test_nothing_to_start_warm_from_is_told(local_kafka: Any, unique: Unique) -> None:
    pipeline = make_pipeline(unique("cold"), local_kafka.bootstrap)
    make_topic(pipeline)
    source = WarmStart(open_store(spec.Store(url=f"memory://{unique('empty')}")), "nobody")
    store = open_store(pipeline.store)
    with (
        pytest.raises(Invalid, match="model `nobody` has no version that could be served"),
        learner(pipeline, store, beginning=Beginning(warm=source)) as running,
    ):
        running.ended()
