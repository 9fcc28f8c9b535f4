"""A version rebuilt from its samples: the same bit for bit, or it is said where not; in bounded memory."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from infra import spec
from infra.errors import Invalid
from infra.kafka import PartitionReader
from infra.object_store import open_store
from infra.pipeline_file import dump_pipeline
from learner import replay as replay_module
from learner.rebuild import Rebuilt, State, compare, rebuild
from learner.replay import RunReader
from springtide import replay_command
from springtide.cli import app
from streaming import topics
from tests.learner.messages import message
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


def rebuilt(pipeline: spec.Pipeline, first: int, last: int, made: spec.Pipeline | None = None) -> Rebuilt:
    """``last`` from ``first``, with trainers of ``made`` if it is given."""
    store = open_store(pipeline.store)
    with PartitionReader(pipeline.kafka, topics.samples(pipeline.name), group="rebuild") as reader:
        return rebuild(pipeline, lambda: fresh_trainer(made or pipeline), store, reader, CLOCK, first=first, last=last)


def test_a_version_is_rebuilt_from_the_first_state_and_from_any_version(
    local_kafka: Any, unique: Unique, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(unique("rebuild"), local_kafka.bootstrap, store=f"file://{tmp_path}/")
    make_topic(pipeline, partitions=2)
    store = open_store(pipeline.store)
    with learner(pipeline, store):
        for begin in range(0, 400, 100):
            send(pipeline, [(number % 2, message(number)) for number in range(begin, begin + 100)])
            until(lambda done=(begin + 100) // 2: committed_offsets(store, pipeline) == {0: done, 1: done})  # type: ignore[misc]
    trained = [manifest.version for manifest in line(store, pipeline) if manifest.batches]
    newest = line(store, pipeline)[-1].version
    whole, part = rebuilt(pipeline, 0, newest), rebuilt(pipeline, trained[0], newest)
    assert (whole.differences, part.differences) == ([], [])
    assert whole.environment == [] and whole.samples == 400 > part.samples > 0
    assert rebuilt(pipeline, newest, newest).versions == 0
    with pytest.raises(Invalid, match="is not before version 1"):
        rebuilt(pipeline, 2, 1)
    with pytest.raises(Invalid, match=f"no version {newest + 1}"):
        rebuilt(pipeline, 0, newest + 1)

    # Another learning rate is another training, and every difference has a name.
    optimizer = spec.DenseOptimizer(learning_rate=0.5)
    other = pipeline.model_copy(update={"model": pipeline.model.model_copy(update={"optimizer": optimizer})})
    found = rebuilt(pipeline, 0, newest, made=other).differences
    assert any(each.startswith("dense/bias: 1 of 1 values") for each in found)
    assert any(each.startswith("rows/user/values: ") for each in found)
    assert any("progressive metrics" in each for each in found)

    # The same bits in another process; what differs is told by the same command in this one.
    path = tmp_path / "pipeline.yaml"
    path.write_text(dump_pipeline(pipeline), encoding="utf-8")
    words = ["replay", str(path), "--from", str(trained[0])]
    done = subprocess.run(
        [sys.executable, "-m", "springtide", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"version {newest} is the same bit for bit" in done.stdout
    path.write_text(dump_pipeline(other), encoding="utf-8")
    monkeypatch.setattr(replay_command, "configure", lambda *_: None)  # the log is the tests' own
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 1, told.output
    assert f"version {newest} differs in" in told.stdout


def test_partitions_that_are_far_ahead_wait_in_kafka_and_not_in_memory(
    local_kafka: Any, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "MOST_HELD", 100)
    monkeypatch.setattr(replay_module, "POLL_MESSAGES", 50)
    pipeline = make_pipeline(unique("ahead"), local_kafka.bootstrap)
    make_topic(pipeline, partitions=2)
    count = 3_000
    send(pipeline, [(1, b"%d" % number) for number in range(count)])
    with PartitionReader(pipeline.kafka, topics.samples(pipeline.name), group="ahead") as reader:
        runs = RunReader(reader, {0: 0, 1: 0}, CLOCK)
        # Partition 0 is wanted and has nothing yet; meanwhile only partition 1 brings messages.
        later = threading.Timer(1.0, lambda: send(pipeline, [(0, b"wanted")]))
        later.start()
        assert runs.batch([(0, 0, 1)]).values == [b"wanted"]
        later.join()
        # One poll may bring a partition beyond the limit; then it is paused.
        assert 100 < runs.held <= 150
        for begin in range(0, count, 50):
            batch = runs.batch([(1, begin, begin + 50)])
            assert batch.values == [b"%d" % number for number in range(begin, begin + 50)]
            assert batch.offsets.tolist() == list(range(begin, begin + 50))
            assert runs.held <= 150


def test_a_difference_of_one_bit_is_found() -> None:
    one: State = {"a": np.array([1.0, np.nan, 0.0], np.float32), "b": np.zeros(2)}
    assert compare(one, {name: value.copy() for name, value in one.items()}) == []
    other: State = {"a": np.array([1.0, np.nan, -0.0], np.float32), "c": np.zeros(2)}
    assert compare(one, other) == ["a: 1 of 3 values", "c: only in the stored state", "b: only in the rebuilt state"]
    assert compare({"a": np.zeros(2)}, {"a": np.zeros(3)}) == ["a: float64 [2] rebuilt, float64 [3] stored"]
