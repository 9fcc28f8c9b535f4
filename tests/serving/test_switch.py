"""A request sees one version, whole: every row, every dense weight and every statistic of a version encodes it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.errors import Unavailable
from kernels.batch import EncodedBatch
from kernels.features import FeatureEncoder, IdFeature, NumberFeature, RunningStatistics
from kernels.rows import TableRows
from kernels.running_statistics import COUNTS, MEANS, SQUARES
from kernels.tables import EmbeddingTables, TableSettings
from serving.dense_program import DenseGraph
from serving.snapshot import Published, Readers, Switch, Version
from serving.tensorflow_runtime import tf
from tests.serving.model import arrow

KEYS = 64
DIM = 16
VERSIONS = 100
THREADS = 6
ENCODER = FeatureEncoder(
    [
        IdFeature("user", "item", "first"),
        IdFeature("item", "item", "second"),
        NumberFeature("price", "price", "standard"),
    ]
)


def make_tables(keys: int = KEYS) -> EmbeddingTables:
    settings = [TableSettings(name="first", dim=DIM, seed=1), TableSettings(name="second", dim=DIM, seed=1)]
    return EmbeddingTables(settings, ENCODER.columns, ENCODER.numbers, max_batch=keys, trainable=False)


def make_graph() -> DenseGraph:
    """Answers the smallest and largest value of the rows, the scaled number, and both weights."""
    stride = make_tables().stride
    graph = tf.Graph()
    with graph.as_default():
        entry = tf.compat.v1.placeholder(tf.float32, [None, stride], "input")
        weights = [tf.compat.v1.placeholder(tf.float32, [1], f"weight_{index}") for index in range(2)]
        rows = entry[:, : 2 * DIM]
        lowest, highest = (reduce(rows, 1, keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
        ones = tf.ones_like(lowest)
        number = entry[:, 2 * DIM : 2 * DIM + 1]
        tf.concat([lowest, highest, -number, weights[0] * ones, weights[1] * ones], 1, name="prediction")
    content = graph.as_graph_def().SerializeToString()
    return DenseGraph(content, hashlib.sha256(content).hexdigest())


def make_rows(table: str, number: int, keys: range) -> TableRows:
    values = np.full((len(keys), DIM), number, np.float32)
    return TableRows(
        table=table,
        keys=np.array(keys, np.int64),
        values=values,
        slots=np.zeros((len(keys), 0), np.float32),
        frequency=np.zeros(len(keys), np.uint32),
        last_seen=np.zeros(len(keys), np.int64),
        tombstones=np.zeros(0, np.int64),
    )


def make_version(graph: DenseGraph, number: int) -> Version:
    state: dict[str, Any] = {
        COUNTS: np.array([1], np.int64),
        MEANS: np.array([number], np.float64),
        SQUARES: np.array([1.0]),
    }
    weights = {name: np.full(1, number, np.float32) for name in ("first", "second")}
    statistics = RunningStatistics.from_state(ENCODER.features, state)
    return Version(number, graph.bind(weights), statistics, committed_ts=number)


def publish(switch: Switch, graph: DenseGraph, number: int) -> None:
    """All rows of both tables; every tenth time as a version that replaces all."""
    rows = [make_rows(table, number, range(KEYS)) for table in ("first", "second")]
    switch.publish(make_version(graph, number), rows, replaces_all=number % 10 == 1)


def look_up(switch: Switch, of: Published, batch: EncodedBatch) -> NDArray[np.float32]:
    with Readers(switch.tables).reader() as reader:
        return reader.lookup(of.version.statistics.scale(batch), of.rows).copy()


def test_no_read_is_torn() -> None:
    graph = make_graph()
    switch = Switch(make_tables())
    readers = Readers(switch.tables)
    publish(switch, graph, 1)
    batch = ENCODER.encode(arrow({"item": list(range(KEYS)), "price": [0.0] * KEYS}))
    done = threading.Event()
    torn: list[str] = []
    seen: list[set[int]] = [set() for _ in range(THREADS)]
    reads = [0] * THREADS

    def read(thread: int) -> None:
        last = 0
        while not done.is_set() and not torn:
            current = switch.read()
            number = current.version.number
            for _ in range(1 + thread % 2):  # some stay for two answers
                with readers.reader() as reader:
                    rows = reader.lookup(current.version.statistics.scale(batch), current.rows)
                    values = current.version.program.predict(rows)
                if not (values == number).all():
                    torn.append(f"version {number} answered {np.unique(values)}")
            if number < last:
                torn.append(f"version {number} after {last}")
            last = number
            seen[thread].add(number)
            reads[thread] += 1

    threads = [threading.Thread(target=read, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        for number in range(2, VERSIONS):
            publish(switch, graph, number)
            if number % 3:
                switch.settle()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert torn == []
    assert sum(reads) > VERSIONS
    assert len(set.union(*seen)) > VERSIONS / 10


def test_every_delta_adds_to_those_before() -> None:
    graph = make_graph()
    switch = Switch(make_tables())
    publish(switch, graph, 1)
    keys = [range(number, number + 2) for number in range(2, 12)]
    for number, some in enumerate(keys, start=2):
        rows = [make_rows("first", number, some), make_rows("second", number, some)]
        switch.publish(make_version(graph, number), rows, replaces_all=False)
        wanted = np.ones(KEYS, np.float32)
        for earlier, touched in enumerate(keys[: number - 1], start=2):
            wanted[touched.start : touched.stop] = earlier
        batch = ENCODER.encode(arrow({"item": list(range(KEYS)), "price": [0.0] * KEYS}))
        got = look_up(switch, switch.read(), batch)
        np.testing.assert_array_equal(got[:, 0], wanted)
        np.testing.assert_array_equal(got[:, 2 * DIM - 1], wanted)


def test_a_version_that_replaces_all_forgets_the_rest() -> None:
    graph = make_graph()
    switch = Switch(make_tables())
    publish(switch, graph, 1)
    switch.publish(make_version(graph, 2), [make_rows("first", 2, range(3))], replaces_all=True)
    switch.settle()
    assert switch.row_counts() == {"first": 3, "second": 0}
    switch.publish(make_version(graph, 3), [make_rows("first", 3, range(3, 4))], replaces_all=False)
    assert switch.row_counts() == {"first": 4, "second": 0}


def test_nothing_is_read_before_the_first_version() -> None:
    switch = Switch(make_tables())
    with pytest.raises(Unavailable, match="no version applied yet"):
        switch.read()


def test_who_stays_keeps_his_version_and_its_memory_goes_with_him() -> None:
    graph = make_graph()
    switch = Switch(make_tables())
    publish(switch, graph, 2)
    batch = ENCODER.encode(arrow({"item": [1], "price": [0.0]}))
    mine = switch.read()
    gone = weakref.ref(mine.rows)
    for number in range(3, 6):
        publish(switch, graph, number)
        assert (look_up(switch, switch.read(), batch)[0, : 2 * DIM] == number).all()
        assert (look_up(switch, mine, batch)[0, : 2 * DIM] == 2).all()
    del mine
    assert gone() is None


def test_rows_of_no_table_leave_the_version_before() -> None:
    graph = make_graph()
    switch = Switch(make_tables())
    publish(switch, graph, 1)
    with pytest.raises(KeyError, match="third"):
        switch.publish(make_version(graph, 2), [make_rows("third", 2, range(3))], replaces_all=False)
    assert switch.version is not None
    assert switch.version.number == 1


def test_a_version_that_comes_again_stands_once() -> None:
    graph = make_graph()
    switch = Switch(make_tables(), kept=3)
    for number in (1, 2, 3, 2, 3):
        publish(switch, graph, number)
    assert switch.kept == [3, 2, 1]
