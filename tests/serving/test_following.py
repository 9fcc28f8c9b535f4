"""Whatever is wrong with a newer version, the last good one answers, the cause is told once, and it heals by itself."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpointing.manifest import Gate, Manifest
from infra.clock import SystemClock
from infra.errors import Corrupt, Invalid, Unavailable
from infra.object_store import ObjectStore
from infra.spec import Pipeline
from serving.prediction import Question
from serving.tensorflow_runtime import tf
from tests.checkpointing.stepping_clock import SteppingClock
from tests.serving.conftest import Replica, build_replica
from tests.serving.model import Columns, Model, arrow, make_columns

COLUMNS: Columns = make_columns(20, seed=77)


def check(replica: Replica, model: Model) -> None:
    """The replica answers as the model does now."""
    got = replica.predictor.predict(Question(arrow(COLUMNS), 20)).values
    np.testing.assert_allclose(got, model.expected(COLUMNS), rtol=0, atol=2e-6)


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "version_refused" in record.getMessage()]


def pack(root: Path, manifest: Manifest) -> Path:
    return root / manifest.files[0].key


def test_corrupt_delta_then_healed(
    model: Model, stepped: Replica, clock: SteppingClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = model.commit(1)
    stepped.following.step()
    before = stepped.predictor.predict(Question(arrow(COLUMNS), 20))
    manifest = model.commit(2)
    file = pack(tmp_path, manifest)
    good = file.read_bytes()
    file.write_bytes(good[:200] + bytes([good[200] ^ 1]) + good[201:])
    since = clock.now_ms()
    for _ in range(5):
        stepped.following.step()
        clock.seconds += 1.1
    trouble = stepped.following.trouble
    assert trouble is not None
    assert isinstance(trouble.error, Corrupt)
    assert trouble.since_ts == since
    assert stepped.metrics.value("springtide_replica_stuck_since_timestamp_seconds") == since / 1000
    assert stepped.metrics.value("springtide_replica_corrupt_total") == 1
    assert len(refusals(caplog)) == 1
    after = stepped.predictor.predict(Question(arrow(COLUMNS), 20))
    assert after.version == first.version
    assert after.values.tobytes() == before.values.tobytes()
    file.write_bytes(good)
    clock.seconds += 1.1
    caplog.set_level(logging.INFO)
    stepped.following.step()
    assert stepped.predictor.version == manifest.version
    check(stepped, model)
    assert stepped.following.trouble is None
    assert stepped.metrics.value("springtide_replica_stuck_since_timestamp_seconds") == 0
    assert any("versions_accepted_again" in record.getMessage() for record in caplog.records)


def test_a_lost_file_and_a_good_version_behind_it(
    model: Model, stepped: Replica, clock: SteppingClock, tmp_path: Path
) -> None:
    model.commit(1)
    stepped.following.step()
    lost = pack(tmp_path, model.commit(2))
    content = lost.read_bytes()
    lost.unlink()
    model.commit(3)
    stepped.following.step()
    assert stepped.predictor.version == 2
    assert isinstance(getattr(stepped.following.trouble, "error", None), Corrupt)
    lost.write_bytes(content)
    clock.seconds += 1.1
    stepped.following.step()
    assert stepped.predictor.version == 4
    check(stepped, model)


def unsafe_graph(stride: int) -> bytes:
    graph = tf.Graph()
    with graph.as_default():
        entry = tf.compat.v1.placeholder(tf.float32, [None, stride], "input")
        for index in range(4):
            tf.compat.v1.placeholder(tf.float32, None, f"weight_{index}")
        tf.identity(entry[:, :1] + tf.random.normal([1], seed=1), name="prediction")
    return bytes(graph.as_graph_def().SerializeToString())


def wrong_spec(model: Model) -> dict[str, Any]:
    return {"feature_spec_hash": "0" * 64}


def wrong_graph(model: Model) -> dict[str, Any]:
    graph = unsafe_graph(model.tables.stride)
    return {"graph": model.writer.put_graph(graph, weights=list(model.dense), labels=["click"])}


def wrong_dense(model: Model) -> dict[str, Any]:
    return {"dense": {name: array[:1] for name, array in model.dense.items()}}


def missing_dense(model: Model) -> dict[str, Any]:
    return {"graph": None, "dense": dict(list(model.dense.items())[1:])}


def wrong_statistics(model: Model) -> dict[str, Any]:
    return {"statistics": {"standard_counts": np.zeros(3, np.int64)}}


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        (wrong_spec, Invalid, "made by other features"),
        (wrong_graph, Corrupt, "RandomStandardNormal"),
        (wrong_dense, Corrupt, "dense array"),
        (missing_dense, Corrupt, "lacks the dense arrays"),
        (wrong_statistics, Corrupt, "statistics"),
    ],
)
def test_a_version_that_does_not_fit(
    model: Model,
    stepped: Replica,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Model], dict[str, Any]],
    kind: type[Exception],
    told: str,
) -> None:
    model.commit(1)
    stepped.following.step()
    model.commit(2, **change(model))
    for _ in range(3):
        stepped.following.step()
    trouble = stepped.following.trouble
    assert trouble is not None
    assert isinstance(trouble.error, kind)
    assert told in str(trouble.error)
    assert len(refusals(caplog)) == 1
    assert stepped.predictor.version == 2
    # The next good version extends the refused one, whose rows it needs: the replica reads all of it.
    model.commit(3)
    stepped.following.step()
    stepped.following.step()
    assert stepped.predictor.version == 4
    check(stepped, model)
    assert stepped.following.trouble is None
    model.commit(4)
    stepped.following.step()
    check(stepped, model)


def test_other_features_name_the_cure(model: Model, stepped: Replica) -> None:
    model.commit(1, feature_spec_hash="0" * 64)
    stepped.following.step()
    trouble = stepped.following.trouble
    assert trouble is not None
    assert "pipeline.yaml" in trouble.error.cure
    assert stepped.predictor.version is None


def test_a_newer_format(model: Model, stepped: Replica, store: ObjectStore, tmp_path: Path) -> None:
    model.commit(1)
    stepped.following.step()
    model.commit(2)
    path = tmp_path / "manifests" / f"{3:020d}.json"
    good = path.read_bytes()
    path.write_bytes(json.dumps({**json.loads(good), "format": 3}).encode())
    stepped.following.step()
    trouble = stepped.following.trouble
    assert trouble is not None
    assert isinstance(trouble.error, Invalid)
    assert "format" in str(trouble.error)
    assert stepped.predictor.version == 2
    path.write_bytes(good)
    stepped.following.step()
    assert stepped.predictor.version == 3


def test_what_the_gate_refuses_is_not_served(model: Model, stepped: Replica) -> None:
    model.commit(1)
    model.commit(2, gate=Gate(servable=False, reasons=("loss is not finite",)))
    stepped.following.step()
    assert stepped.predictor.version == 2
    assert stepped.following.trouble is None
    model.commit(3)
    stepped.following.step()
    assert stepped.predictor.version == 4
    check(stepped, model)


def test_heartbeats_change_nothing(model: Model, stepped: Replica) -> None:
    model.commit(1)
    stepped.following.step()
    model.writer.heartbeat()
    stepped.following.step()
    assert [applied.version for applied in stepped.following.applied] == [2]


class Silent:
    """The store, until it is silenced."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.silent = False

    def __getattr__(self, name: str) -> Any:
        if self.silent:
            raise Unavailable("object store: no answer")
        return getattr(self._store, name)


def test_a_silent_store(model: Model, pipeline: Pipeline, store: ObjectStore, caplog: pytest.LogCaptureFixture) -> None:
    clock = SystemClock()
    silent: Any = Silent(store)
    replica = build_replica(pipeline, silent)
    stop = threading.Event()
    thread = threading.Thread(target=replica.following.run, args=(stop,))

    def until(condition: Callable[[], object]) -> None:
        deadline = clock.monotonic() + 20
        while not condition():
            assert clock.monotonic() < deadline
            clock.sleep(0.01)

    try:
        model.commit(1)
        thread.start()
        until(lambda: replica.predictor.version == 2)
        silent.silent = True
        until(lambda: replica.following.trouble)
        check(replica, model)
        until(lambda: replica.metrics.value("springtide_unavailable_total", dependency="store") >= 2)
        assert len([record for record in caplog.records if "unavailable" in record.getMessage()]) == 1
        assert refusals(caplog) == []
        silent.silent = False
        model.commit(2)
        until(lambda: replica.predictor.version == 3)
        until(lambda: replica.following.trouble is None)
    finally:
        stop.set()
        thread.join()
        replica.close()


@pytest.mark.parametrize(("commit_interval_s", "rest_s"), [(0.0, 0.02), (0.03, 0.02), (0.2, 0.1), (60.0, 0.25)])
def test_right_behind_a_version_none_is_looked_for(
    model: Model,
    pipeline: Pipeline,
    store: ObjectStore,
    clock: SteppingClock,
    monkeypatch: pytest.MonkeyPatch,
    commit_interval_s: float,
    rest_s: float,
) -> None:
    replica = build_replica(pipeline, store, clock, commit_interval_s=commit_interval_s)
    waits: list[float] = []
    stop = threading.Event()

    def wait(of: threading.Event, seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 2:
            model.commit(2)
        if len(waits) == 4:
            stop.set()
        return of.is_set()

    monkeypatch.setattr(clock, "wait", wait)
    try:
        model.commit(1)
        replica.following.run(stop)
        assert waits == [rest_s, 0.02, rest_s, 0.02]
        assert replica.predictor.version == 3
    finally:
        replica.close()


def test_what_is_applied_is_told(model: Model, stepped: Replica, clock: SteppingClock) -> None:
    manifests = []
    for seed in range(3):
        manifests.append(model.commit(seed))
        clock.seconds += 1
        stepped.following.step()
    told = [dataclasses.astuple(applied)[:2] for applied in stepped.following.applied]
    assert told == [(manifest.version, manifest.created_ts) for manifest in manifests]
    assert stepped.metrics.value("springtide_replica_version") == 4
    assert stepped.metrics.value("springtide_replica_applied_total", kind="delta") == 3
    assert stepped.metrics.value("springtide_replica_rows", table="items") > 0
