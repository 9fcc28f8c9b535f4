"""An id is forgotten: the decision, the learner's part, the base, the collection, and what Kafka still holds."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from checkpointing import lease
from checkpointing.compact import compact
from checkpointing.holders import holders
from checkpointing.manifest import Position
from checkpointing.writer import Writer
from infra.clock import SystemClock
from infra.kafka import KafkaAdmin, PartitionReader, Producer
from infra.object_store import open_store
from infra.pipeline_file import dump_pipeline
from infra.spec import Pipeline
from springtide.cli import app
from springtide.forget import Erasure, _make_base
from streaming import topics
from tests.checkpointing.reference import content
from tests.learner.messages import PIPELINE

CLOCK = SystemClock()


def forget(file: Path, *words: str, code: int = 0) -> dict[str, Any]:
    command = ["forget", str(file), "--key", "7", "--table", "item", "--who", "ann", "-o", "json", *words]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == code, result.output
    return orjson.loads(result.stdout) if code == 0 else {}


def held(pipeline: Pipeline, topic: str) -> int:
    with PartitionReader(pipeline.kafka, topic, group="test") as reader:
        return sum(marks.high - marks.low for marks in reader.watermarks().values())


def test_an_id_is_forgotten_step_by_step(
    local_kafka: Any, unique: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = PIPELINE | {
        "name": unique("forget"),
        "kafka": {"bootstrap": local_kafka.bootstrap},
        "store": {"url": (tmp_path / "store").as_uri()},
    }
    pipeline = Pipeline.model_validate(document)
    file, store = tmp_path / "pipeline.yaml", open_store(pipeline.store)
    file.write_text(dump_pipeline(pipeline), encoding="utf-8")
    KafkaAdmin(pipeline.kafka).ensure_topics(topics.own_topics(pipeline))
    samples, dead = topics.samples(pipeline.name), topics.dead(pipeline.name)
    producer = Producer(pipeline.kafka)
    for _ in range(3):
        producer.send(samples, b"{}")
        producer.send(dead, orjson.dumps({"reason": "malformed", "body": base64.b64encode(b"item 7!").decode()}))
        producer.send(dead, b"{}")
    producer.flush()

    writer = Writer.take_over(store, pipeline.name, "a", CLOCK)

    def commit(offset: int, rows: dict[int, int], **fields: Any) -> None:
        place = Position(topic=samples, partition=0, next_offset=offset)
        writer.commit(dataclasses.replace(content(rows, **fields), positions=[place]))

    commit(1, {7: 1, 8: 1})
    commit(2, {7: 2})
    told = forget(file, "--wait", "0")
    assert (told["key"], told["decision"], told["obeyed"], told["base"]) == (7, 1, None, None)
    assert told["left"] == ["version 2", "version 3"]
    assert any("3 records name it" in line for line in told["topics"])

    # What the learner does before its next capture.
    commit(2, {9: 1}, gone=[7], obeyed=1)
    told = forget(file)
    assert (told["decision"], told["obeyed"], told["base"]) == (1, 4, 4)
    assert told["left"] == ["version 2", "version 3"], "readers may be at them for an hour"
    assert {found.version for found in holders(store, pipeline.name, "item", 8)} == {2, 4}

    monkeypatch.setattr(lease, "GRACE_S", 0.2)
    for _ in range(10):
        CLOCK.sleep(0.3)  # the grace time itself
        told = forget(file)
        if not told["left"]:
            break
    told = forget(file, "--delete-records")
    assert told["left"] == [] and told["base"] == 4
    assert list(holders(store, pipeline.name, "item", 7)) == []
    assert (held(pipeline, dead), held(pipeline, samples)) == (1, 1) and any(
        "deleted" in line for line in told["topics"]
    )
    assert CliRunner().invoke(app, ["verify", str(file)]).exit_code == 0


def test_after_a_revert_the_line_gets_a_base_of_its_own(tmp_path: Path) -> None:
    """One that is without the id stands beside the line, which goes on from a version that holds it."""
    document = PIPELINE | {"store": {"url": (tmp_path / "store").as_uri()}}
    pipeline = Pipeline.model_validate(document)
    store = open_store(pipeline.store)
    writer = Writer.take_over(store, pipeline.name, "a", CLOCK)
    writer.commit(content({7: 1, 8: 1}, offset=1))
    writer.commit(content({8: 2}, gone=[7], offset=2, obeyed=1))
    compact(store, pipeline.name, 3, CLOCK)
    writer.commit(content({}, gone=[7], offset=2, kind="revert", base_ref=2, obeyed=1))
    for _ in range(2):
        erasure = Erasure("item", 7, 1, obeyed=4)
        _make_base(erasure, store, pipeline, CLOCK, threading.Event())
        assert erasure.base == 4


def test_what_is_pinned_or_no_id_is_refused(tmp_path: Path) -> None:
    document = PIPELINE | {"store": {"url": (tmp_path / "store").as_uri()}}
    pipeline = Pipeline.model_validate(document)
    file = tmp_path / "pipeline.yaml"
    file.write_text(dump_pipeline(pipeline), encoding="utf-8")
    writer = Writer.take_over(open_store(pipeline.store), pipeline.name, "a", CLOCK)
    writer.commit(content({7: 1}, offset=1))
    for words in (["--key", "x", "--table", "item"], ["--key", "7", "--table", "nothing"]):
        assert CliRunner().invoke(app, ["forget", str(file), *words]).exit_code == 2
    assert CliRunner().invoke(app, ["rollback", "2", str(file), "--who", "ann"]).exit_code == 0
    forget(file, code=2)
