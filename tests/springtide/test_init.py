"""`springtide init` on a real broker: it reads a little of each topic and writes what `check` accepts."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from infra.kafka import KafkaAdmin, Producer, TopicSettings
from infra.local.kafka_server import KafkaServer
from infra.pipeline_file import load_pipeline
from infra.spec import Kafka
from springtide.cli import app
from streaming.topic_sample import sample_topic
from tests.springtide.test_survey import BEGIN_MS, clicked, shown

ROUNDS = 5


@pytest.fixture
def topics(local_kafka: KafkaServer, unique: Callable[[str], str]) -> tuple[Kafka, str, str]:
    """Two topics of three partitions: five rounds of traffic, the newest of which is to be found."""
    kafka = Kafka(bootstrap=local_kafka.bootstrap)
    views, clicks = unique("views"), unique("clicks")
    # The events are a year old, and would be gone within half a minute.
    KafkaAdmin(kafka).ensure_topics([TopicSettings(each, 3, retention_ms=-1) for each in (views, clicks)])
    with Producer(kafka) as producer:
        for number in range(ROUNDS):
            begin = BEGIN_MS + number * 60_000
            for topic, time, key, rows in ((views, "at", "view", shown()), (clicks, "t", "of", clicked())):
                for row in rows:
                    moment = row[time] + begin - BEGIN_MS
                    body = {**row, time: moment, key: f"{number}-{row[key]}"}
                    producer.send(topic, orjson.dumps(body), key=body[key].encode(), timestamp_ms=moment)
        producer.flush()
    return kafka, views, clicks


def init(kafka: Kafka, views: str, clicks: str, *words: str) -> Result:
    topics = ["--impressions", views, "--feedback", clicks]
    return CliRunner().invoke(app, ["init", "--bootstrap", kafka.bootstrap, *topics, *words])


def test_init_writes_a_pipeline_that_check_accepts(topics: tuple[Kafka, str, str], tmp_path: Path) -> None:
    kafka, views, clicks = topics
    file = tmp_path / "pipeline.yaml"
    result = init(kafka, views, clicks, "-o", str(file), "--name", "shop", "--store", "s3://models/shop")
    assert result.exit_code == 0, result.output
    assert "key `view`" in result.output and "window 3s" in result.output
    pipeline = load_pipeline(file)
    assert (pipeline.name, pipeline.store.url, pipeline.events.feedback[0].key) == ("shop", "s3://models/shop", "of")
    checked = CliRunner().invoke(app, ["check", str(file)])
    assert checked.exit_code == 0 and "joined for 3s" in checked.output
    again = init(kafka, views, clicks, "-o", str(file))
    assert again.exit_code == 2 and "there already" in again.output and "--force" in again.output
    printed = init(kafka, views, clicks, "-o", "-", "--messages", "100")
    assert printed.exit_code == 0 and printed.output.startswith("# Written by `springtide init`")


def test_impressions_are_read_from_when_the_feedback_was_sent(topics: tuple[Kafka, str, str]) -> None:
    """Of a topic with far more messages than are read, those that the feedback read can belong to."""
    kafka, views, clicks = topics
    newest = sample_topic(kafka, clicks, 60, group="test")
    begin = min(message.received_ms for message in newest)
    found = sample_topic(kafka, views, 60, from_ms=begin, group="test")
    assert len(newest) == len(found) == 60
    assert min(message.received_ms for message in found) >= begin
    assert [each.received_ms for each in found] == sorted(each.received_ms for each in found)


def test_topics_that_will_not_do_are_refused(topics: tuple[Kafka, str, str], unique: Callable[[str], str]) -> None:
    kafka, views, clicks = topics
    empty = unique("empty")
    KafkaAdmin(kafka).ensure_topics([TopicSettings(empty)])
    for given, told in (
        ((views, empty), f"topic `{empty}` is empty"),
        ((views, f"{clicks}x"), f"topic `{clicks}x` not found; nearest `{clicks}`"),
        ((clicks, views), f"--impressions {views} --feedback {clicks}"),
        ((views, views), "was given as impressions and as feedback"),
    ):
        result = init(kafka, *given, "-o", "-")
        assert result.exit_code == 2 and told in result.output, result.output
