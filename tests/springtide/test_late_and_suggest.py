"""`springtide late` and `springtide suggest window` on a real broker, over rows as the join writes them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from infra.kafka import KafkaAdmin, Producer, TopicSettings
from infra.local.kafka_server import KafkaServer
from infra.pipeline_file import dump_pipeline
from infra.spec import Pipeline
from springtide.cli import app
from streaming import topics
from tests.streaming.pipelines import pipeline
from tests.streaming.test_delays import BEGIN_MS, CORRECTION_MS, orphan, sample


@pytest.fixture
def spec(local_kafka: KafkaServer, unique: Callable[[str], str]) -> Pipeline:
    found = pipeline(
        unique("late"),
        kafka={"bootstrap": local_kafka.bootstrap},
        join={"window": "10s", "correction_window": "1m"},
    )
    admin = KafkaAdmin(found.kafka)
    admin.ensure_topics([TopicSettings(name) for name in topics.user_topics(found)])
    admin.ensure_topics(topics.own_topics(found))
    return found


def output(spec: Pipeline, folder: Path, *words: str) -> str:
    path = folder / "pipeline.yaml"
    path.write_text(dump_pipeline(spec), encoding="utf-8")
    result = CliRunner().invoke(app, [*words[:-1], str(path), *words[-1].split()])
    assert result.exit_code == 0, result.output
    return result.output


def test_late_lists_reasons_places_and_the_bytes_of_the_users_topic(spec: Pipeline, tmp_path: Path) -> None:
    assert "every event became a sample" in output(spec, tmp_path, "late", "list", "")
    clicks = topics.user_topics(spec)[1]
    producer = Producer(spec.kafka)
    for body in (b'{"id":"a"}', b'{"id":"b"}', b"not json"):
        producer.send(clicks, body)
    row = {"reason": "orphan", "key": "b", "feedback": "click", "topic": clicks, "partition": 0, "offset": 1}
    gone = {**row, "reason": "repeat", "offset": 99}
    for each in (row, row, gone):  # at-least-once: one comes twice
        producer.send(topics.late(spec.name), orjson.dumps(each))
    dead = {"reason": "malformed", "topic": clicks, "partition": 0, "offset": 2}
    dead["body"] = base64.b64encode(b"not json").decode()
    producer.send(topics.dead(spec.name), orjson.dumps(dead))
    producer.flush()
    rows = [orjson.loads(line) for line in output(spec, tmp_path, "late", "list", "-o json").splitlines()]
    found = {(each["reason"], each["offset"]): each["body"] and base64.b64decode(each["body"]) for each in rows}
    assert found == {("orphan", 1): b'{"id":"b"}', ("repeat", 99): None, ("malformed", 2): b"not json"}
    text = output(spec, tmp_path, "late", "list", "--reason orphan")
    assert f"1  orphan            {clicks}  for click" in text and '{"id":"b"}' in text and "malformed" not in text


def test_a_model_that_learns_from_anothers_samples_lists_its_late_rows_and_replays_none(
    spec: Pipeline, tmp_path: Path
) -> None:
    shown, clicks = topics.user_topics(spec)
    row = {"reason": "orphan", "key": "b", "feedback": "click", "topic": clicks, "partition": 0, "offset": 1}
    producer = Producer(spec.kafka)
    producer.send(topics.late(spec.name), orjson.dumps(row))
    producer.flush()
    second = pipeline(
        f"{spec.name}-second",
        kafka={"bootstrap": spec.kafka.bootstrap},
        impressions={"topic": shown},
        feedback={"topic": clicks},
        samples={"of": spec.name},
    )
    (found,) = [orjson.loads(line) for line in output(second, tmp_path, "late", "list", "-o json").splitlines()]
    assert (found["reason"], found["offset"]) == ("orphan", 1)
    assert "click: 1 keys, 1 of them without a verdict" in output(second, tmp_path, "late", "replay", "--dry-run")
    path = tmp_path / "pipeline.yaml"
    path.write_text(dump_pipeline(second), encoding="utf-8")
    refused = CliRunner().invoke(app, ["late", "replay", str(path)])
    assert refused.exit_code == 2
    assert f"learns from the samples of `{spec.name}`" in " ".join(refused.output.split())


def test_suggest_window_reads_the_samples(spec: Pipeline, tmp_path: Path) -> None:
    producer = Producer(spec.kafka)
    rows = [sample(number, 100 * number) for number in range(1, 101)]
    for each in [*rows, sample(10**6, None, begin_ms=BEGIN_MS + CORRECTION_MS)]:
        producer.send(topics.samples(spec.name), orjson.dumps(each))
    producer.send(topics.late(spec.name), orjson.dumps(orphan(1)))
    producer.flush()
    text = output(spec, tmp_path, "suggest", "window", "--coverage 0.5")
    assert "click   100 of 100 impressions   p50 5s" in text
    assert "the window of 10s covers 100.0%; 5s covers 50.0%" in text
